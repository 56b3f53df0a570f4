//! Conditions: CEL expressions over the cluster's state, as Kubernetes' own API uses CEL.
//!
//! What an expression looks at is known after compiling, so that it is evaluated again only after a change that can
//! change its value. A collection may be used as a variable (`pods`) or, narrowed by a label selector, as a function
//! (`pods("app=web")`).

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, operators};
use cel::{Context, Program, Value};

use crate::manifest::nearest;
use crate::model::{Kind, Labels, Selector};

use super::world::{COLLECTIONS, Collection, FUNCTIONS};

/// A compiled expression.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) text: String,
    expr: IdedExpr,
    pub(super) uses: Uses,
}

/// What an expression looks at.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses {
    /// Collections, each with the literal selector that narrows it (None: all of it).
    pub(super) collections: Vec<(Collection, Option<Selector>)>,
    /// It depends on the time, too: `age`, `now`.
    pub(super) time: bool,
    /// It measures latencies.
    pub(super) latency: bool,
    /// Services whose endpoints it counts; None where the name is not literal.
    pub(super) endpoints: Vec<Option<String>>,
}

/// Why an expression can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Invalid {
    /// Characters from the expression's beginning, where known.
    pub(super) offset: usize,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Condition {
    /// Compiles an expression and looks every name in it up.
    pub(super) fn compile(text: &str) -> Result<Condition, Invalid> {
        let program = Program::compile(text).map_err(|errors| {
            let first = errors.errors.first();
            let (line, column) = first.map_or((1, 0), |error| error.pos);
            let before: usize =
                text.lines().take((line - 1).max(0) as usize).map(|line| line.chars().count() + 1).sum();
            let message = first.map_or("", |error| error.msg.as_str());
            let message = message.lines().next().unwrap_or_default();
            let short = message.split(" expecting ").next().unwrap_or(message);
            Invalid {
                offset: before + column.max(0) as usize,
                message: format!("not a CEL expression: {short}"),
                hint: Some("such as pods(\"app=web\").all(p, p.ready)".to_owned()),
            }
        })?;
        let mut walk = Walk { uses: Uses::default(), bound: Vec::new(), invalid: None };
        let mut expr = program.expression().clone();
        walk.expr(&mut expr);
        match walk.invalid {
            Some(mut invalid) => {
                invalid.offset = text.find(invalid.hint_name()).map_or(0, |at| text[..at].chars().count());
                Err(invalid)
            }
            None => Ok(Condition { text: text.to_owned(), expr, uses: walk.uses }),
        }
    }

    /// True or false, or what went wrong.
    pub(super) fn holds(&self, context: &Context<'_, '_>) -> Result<bool, String> {
        match context.resolve(&self.expr) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("the expression is not true or false but {:?}", other.type_of())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The two sides of a comparison with their values, for "measured 1": None if the expression is none.
    pub(super) fn measured(&self, context: &Context<'_, '_>) -> Option<(Value, Value)> {
        let Expr::Call(call) = &self.expr.expr else { return None };
        let comparisons = [
            operators::EQUALS,
            operators::NOT_EQUALS,
            operators::LESS,
            operators::LESS_EQUALS,
            operators::GREATER,
            operators::GREATER_EQUALS,
        ];
        if !comparisons.contains(&call.func_name.as_str()) {
            return None;
        }
        let [left, right] = call.args.as_slice() else { return None };
        Some((context.resolve(left).ok()?, context.resolve(right).ok()?))
    }

    /// True if the expression is a comparison whose left side is better when greater.
    pub(super) fn wants_more(&self) -> Option<bool> {
        let Expr::Call(call) = &self.expr.expr else { return None };
        match call.func_name.as_str() {
            operators::GREATER | operators::GREATER_EQUALS => Some(true),
            operators::LESS | operators::LESS_EQUALS => Some(false),
            _ => None,
        }
    }
}

impl Uses {
    /// True if a change of an object of this kind with these labels can change the expression's value.
    pub(super) fn concerns(&self, kind: Kind, labels: &Labels) -> bool {
        self.collections.iter().any(|(collection, selector)| {
            collection.0 == kind && selector.as_ref().is_none_or(|selector| selector.matches(labels))
        })
    }
}

impl Invalid {
    /// The name that the message is about, between its backquotes.
    fn hint_name(&self) -> &str {
        self.message.split('`').nth(1).unwrap_or("")
    }
}

/// Walks through an expression: notes what it uses, turns collections used as variables into calls.
struct Walk {
    uses: Uses,
    bound: Vec<String>,
    invalid: Option<Invalid>,
}

impl Walk {
    fn expr(&mut self, node: &mut IdedExpr) {
        match &mut node.expr {
            Expr::Ident(name) => {
                if self.bound.iter().any(|bound| bound == name) {
                    return;
                }
                if let Some(collection) = Collection::named(name) {
                    self.uses.collections.push((collection, None));
                    let call = CallExpr { func_name: name.clone(), target: None, args: Vec::new() };
                    node.expr = Expr::Call(call);
                } else if name == "now" {
                    self.uses.time = true;
                    node.expr = Expr::Call(CallExpr { func_name: "now".to_owned(), target: None, args: Vec::new() });
                } else if !TYPE_NAMES.contains(&name.as_str()) {
                    self.unknown("name", &name.clone(), COLLECTIONS.iter().map(|(name, _)| *name));
                }
            }
            Expr::Call(call) => {
                if call.target.is_none() {
                    self.call(call);
                }
                if let Some(target) = &mut call.target {
                    self.expr(target);
                }
                for argument in &mut call.args {
                    self.expr(argument);
                }
            }
            Expr::Select(select) => {
                self.uses.time |= select.field == "age";
                self.expr(&mut select.operand);
            }
            Expr::Comprehension(comprehension) => {
                self.expr(&mut comprehension.iter_range);
                let before = self.bound.len();
                self.bound.push(comprehension.iter_var.clone());
                self.bound.extend(comprehension.iter_var2.clone());
                self.bound.push(comprehension.accu_var.clone());
                self.expr(&mut comprehension.accu_init);
                self.expr(&mut comprehension.loop_cond);
                self.expr(&mut comprehension.loop_step);
                self.expr(&mut comprehension.result);
                self.bound.truncate(before);
            }
            Expr::List(list) => list.elements.iter_mut().for_each(|element| self.expr(element)),
            Expr::Map(map) => map.entries.iter_mut().for_each(|entry| self.entry(entry)),
            Expr::Struct(structure) => structure.entries.iter_mut().for_each(|entry| self.entry(entry)),
            Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn entry(&mut self, entry: &mut IdedEntryExpr) {
        match &mut entry.expr {
            EntryExpr::MapEntry(entry) => {
                self.expr(&mut entry.key);
                self.expr(&mut entry.value);
            }
            EntryExpr::StructField(field) => self.expr(&mut field.value),
        }
    }

    /// A call without a target: one of ours, an operator, or one of CEL's own functions.
    fn call(&mut self, call: &CallExpr) {
        let name = call.func_name.as_str();
        let literal = match call.args.first().map(|argument| &argument.expr) {
            Some(Expr::Literal(LiteralValue::String(text))) => Some(text.inner().to_owned()),
            _ => None,
        };
        if let Some(collection) = Collection::named(name) {
            let selector = literal.map(|text| Selector::parse(&text));
            match selector {
                Some(Err(error)) => self.refuse(Invalid {
                    offset: 0,
                    message: format!("the selector of `{name}`: {error}"),
                    hint: None,
                }),
                Some(Ok(selector)) => self.uses.collections.push((collection, Some(selector))),
                None => self.uses.collections.push((collection, None)),
            }
            return;
        }
        match name {
            "endpoints" => self.uses.endpoints.push(literal),
            "latency" => self.uses.latency = true,
            "now" => self.uses.time = true,
            "object" => {
                let kind = literal.and_then(|text| text.split('/').next().and_then(Kind::parse));
                match kind.and_then(Collection::of) {
                    Some(collection) => self.uses.collections.push((collection, None)),
                    None => self.uses.collections.extend(COLLECTIONS.iter().map(|(_, collection)| (*collection, None))),
                }
            }
            _ if is_operator(name) || CEL_FUNCTIONS.contains(&name) => {}
            _ => {
                let ours = FUNCTIONS.iter().copied().chain(COLLECTIONS.iter().map(|(name, _)| *name));
                self.unknown("function", name, ours.chain(CEL_FUNCTIONS.iter().copied()));
            }
        }
    }

    fn unknown(&mut self, what: &str, name: &str, known: impl Iterator<Item = &'static str> + Clone) {
        let hint = match nearest(name, known.clone()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("known here: {}", known.collect::<Vec<_>>().join(", ")),
        };
        self.refuse(Invalid { offset: 0, message: format!("unknown {what} `{name}`"), hint: Some(hint) });
    }

    fn refuse(&mut self, invalid: Invalid) {
        self.invalid.get_or_insert(invalid);
    }
}

/// CEL's operators are calls with names such as `_+_`, `!_` and `@in`.
fn is_operator(name: &str) -> bool {
    name.starts_with(['_', '!', '-', '@'])
}

/// The functions of CEL that can stand without a target.
const CEL_FUNCTIONS: &[&str] = &[
    "size",
    "duration",
    "timestamp",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "bytes",
    "has",
    "matches",
    "type",
    "dyn",
    "max",
    "min",
];

/// The names of CEL's types, which are values.
const TYPE_NAMES: &[&str] = &["int", "uint", "double", "string", "bool", "bytes", "list", "map", "null_type", "type"];
