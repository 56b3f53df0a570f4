//! From the tree to typed objects, as strict as the API server, with every problem at its place.
//!
//! Kubernetes: strict decoding of `sigs.k8s.io/json`: unknown fields, and values of another type than the field's, are
//! refused; `3.0` is an integer; null leaves a field unset. The decoder never fails: where something is wrong it says
//! so, goes on with the type's zero, and so finds all problems of an object. `k8s-openapi` alone would pass over
//! unknown fields and stop at the first type error.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::ops::Range;

use k8s_openapi::jiff;
use serde::de::value::Error as DecodeError;
use serde::de::{DeserializeSeed, Deserializer, Error as _, Expected, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::problem::{Kind, Problem, nearest};
use super::tree::{Key, Node, Value};
use crate::model::quantity::Quantity;

/// What the decoding of one object shares.
pub(super) struct Context<'t> {
    text: &'t str,
    /// `Deployment web`, for messages.
    object: String,
    /// The object comes from a cluster, perhaps of another version: its unknown fields are no errors.
    stored: bool,
    path: RefCell<Vec<Step<'t>>>,
    problems: RefCell<Vec<Problem>>,
}

#[derive(Clone, Copy)]
enum Step<'t> {
    Field(&'t str),
    Index(usize),
    Entry(&'t str),
}

impl<'t> Context<'t> {
    /// `text` is the source's, which spans count in.
    pub(super) fn new(text: &'t str, object: String, stored: bool) -> Context<'t> {
        Context { text, object, stored, path: RefCell::default(), problems: RefCell::default() }
    }

    /// Decodes an object. `None` only where an outer type's own decoder failed, which is then a problem too.
    pub(super) fn decode<T: serde::Deserialize<'t>>(&self, node: &'t Node<'t>) -> Option<T> {
        match T::deserialize(De { node, key: None, cx: self }) {
            Ok(object) => Some(object),
            Err(error) => {
                self.report(node.span.clone(), Kind::Undecodable { message: error.to_string() });
                None
            }
        }
    }

    /// The problems so far, in the order of the text.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|p| p.at.start);
        problems
    }

    fn report(&self, at: Range<usize>, kind: Kind) {
        self.report_below(at, None, kind);
    }

    /// A problem of a field that is not on the path.
    fn report_below(&self, at: Range<usize>, below: Option<&str>, kind: Kind) {
        let mut field = String::new();
        let path = self.path.borrow();
        for step in path.iter().copied().chain(below.map(Step::Field)) {
            // Writing to a string cannot fail.
            let _ = match step {
                Step::Field(name) if field.is_empty() => write!(field, "{name}"),
                Step::Field(name) => write!(field, ".{name}"),
                Step::Index(idx) => write!(field, "[{idx}]"),
                Step::Entry(name) => write!(field, "[{name}]"),
            };
        }
        self.problems.borrow_mut().push(Problem { at, field, object: self.object.clone(), kind });
    }

    fn enter<T>(&self, step: Step<'t>, inside: impl FnOnce() -> T) -> T {
        self.path.borrow_mut().push(step);
        let result = inside();
        self.path.borrow_mut().pop();
        result
    }
}

/// What stands in for values that could not be used.
static ZERO: Node<'static> = stand_in("0");
static EPOCH: Node<'static> = stand_in("1970-01-01T00:00:00Z");

const fn stand_in(text: &'static str) -> Node<'static> {
    Node { value: Value::String(std::borrow::Cow::Borrowed(text)), span: 0..0 }
}

#[derive(Clone, Copy)]
struct De<'c, 't> {
    node: &'t Node<'t>,
    key: Option<&'t Key<'t>>,
    cx: &'c Context<'t>,
}

impl<'t> De<'_, 't> {
    /// The value's place; the key's where the value was left out.
    fn at(&self) -> Range<usize> {
        match self.key {
            Some(key) if self.node.span.is_empty() => key.span.clone(),
            _ => self.node.span.clone(),
        }
    }

    fn report(&self, kind: Kind) {
        self.cx.report(self.at(), kind);
    }

    fn wrong_type(&self, wanted: &'static str) {
        let written = self.cx.text.get(self.node.span.clone()).unwrap_or_default();
        let short = !written.is_empty() && written.len() <= 40 && !written.contains(['\n', '\r']);
        let scalar = !matches!(self.node.value, Value::Seq(_) | Value::Map(_) | Value::Null);
        let what = self.node.describe();
        let found = if short && scalar { format!("{what} ({written})") } else { what.to_owned() };
        let bare = matches!(self.node.value, Value::Bool(_) | Value::Int(_) | Value::Float(_));
        let write = match &self.node.value {
            // `name:web`, which is a string.
            Value::String(text) if matches!(wanted, "an object" | "a mapping") => {
                text.split_once(':').filter(|_| short).map(|(key, value)| format!("`{key}: {}`", value.trim_start()))
            }
            Value::String(text) => super::scalar::resolve(text).and_then(|value| match (wanted, value) {
                ("an integer" | "a number", Value::Int(_)) | ("a boolean", Value::Bool(_)) => Some(text.to_string()),
                _ => None,
            }),
            _ => (wanted == "a string" && bare && short).then(|| format!("\"{written}\"")),
        };
        self.report(Kind::WrongType { wanted, found, write });
    }

    /// An integer, or 0 with a problem. Floats without a fraction are integers.
    fn integer<T: TryFrom<i64> + Default>(&self, wanted: &'static str) -> T {
        let value = match self.node.value {
            Value::Int(value) => value,
            Value::Null => 0,
            Value::Float(value) if value.fract() == 0.0 => {
                // 2^63, which is just too large.
                if value.abs() >= 9_223_372_036_854_775_808.0 {
                    return self.out_of_range(wanted);
                }
                value as i64
            }
            _ => {
                self.wrong_type("an integer");
                return T::default();
            }
        };
        T::try_from(value).unwrap_or_else(|_| self.out_of_range(wanted))
    }

    fn out_of_range<T: Default>(&self, wanted: &'static str) -> T {
        let text = self.cx.text.get(self.node.span.clone()).unwrap_or_default().to_owned();
        self.report(Kind::OutOfRange { text, wanted });
        T::default()
    }

    fn string(&self) -> &'t str {
        match &self.node.value {
            Value::String(text) => text,
            Value::Null => "",
            _ => {
                self.wrong_type("a string");
                ""
            }
        }
    }

    /// The node to decode in place of this one if it is no quantity.
    fn quantity(self) -> Self {
        let stand_in = De { node: &ZERO, ..self };
        match &self.node.value {
            Value::String(text) if text.parse::<Quantity>().is_ok() => self,
            Value::Int(_) => self,
            Value::Float(value) if value.is_finite() => self,
            Value::Null => stand_in,
            Value::String(text) => {
                self.report(Kind::NotAQuantity { text: text.to_string() });
                stand_in
            }
            _ => {
                self.wrong_type("a quantity");
                stand_in
            }
        }
    }

    /// The node to decode in place of this one if it is no time.
    fn time(self) -> Self {
        let stand_in = De { node: &EPOCH, ..self };
        match &self.node.value {
            Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => self,
            Value::Null => stand_in,
            Value::String(text) => {
                self.report(Kind::NotATime { text: text.to_string() });
                stand_in
            }
            _ => {
                self.wrong_type("a time");
                stand_in
            }
        }
    }
}

/// Whether a visitor says that it expects just this. The only way to tell apart what asks for `any`.
fn expects<'de>(visitor: &impl Visitor<'de>, what: &str) -> bool {
    struct Compare<'w> {
        rest: &'w str,
        differs: bool,
    }
    impl Write for Compare<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            match self.rest.strip_prefix(text) {
                Some(rest) => self.rest = rest,
                None => self.differs = true,
            }
            Ok(())
        }
    }
    let mut compare = Compare { rest: what, differs: false };
    let shown: &dyn Expected = visitor;
    write!(compare, "{shown}").is_ok() && !compare.differs && compare.rest.is_empty()
}

macro_rules! integers {
    ($($method:ident $visit:ident $wanted:literal)*) => {$(
        fn $method<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            visitor.$visit(self.integer($wanted))
        }
    )*};
}

impl<'t> Deserializer<'t> for De<'_, 't> {
    type Error = DecodeError;

    integers! {
        deserialize_i8 visit_i8 "8 bits"
        deserialize_i16 visit_i16 "16 bits"
        deserialize_i32 visit_i32 "32 bits"
        deserialize_i64 visit_i64 "64 bits"
        deserialize_u8 visit_u8 "8 bits"
        deserialize_u16 visit_u16 "16 bits"
        deserialize_u32 visit_u32 "32 bits"
        deserialize_u64 visit_u64 "64 bits"
    }

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let scalar = !matches!(self.node.value, Value::Seq(_) | Value::Map(_));
        if expects(&visitor, "IntOrString") {
            return match &self.node.value {
                Value::String(text) => visitor.visit_borrowed_str(text),
                Value::Int(_) | Value::Null => visitor.visit_i32(self.integer("32 bits")),
                Value::Float(value) if value.fract() == 0.0 => visitor.visit_i32(self.integer("32 bits")),
                _ => {
                    self.wrong_type("an integer or a string");
                    visitor.visit_i32(0)
                }
            };
        }
        if expects(&visitor, "JSONSchemaPropsOrBool") && !matches!(self.node.value, Value::Bool(_) | Value::Map(_)) {
            self.wrong_type("a schema or a boolean");
            return visitor.visit_bool(true);
        }
        if expects(&visitor, "JSONSchemaPropsOrArray") && scalar {
            self.wrong_type("a schema or a list of schemas");
            return visitor.visit_seq(Elements { items: [].iter().enumerate(), cx: self.cx });
        }
        if expects(&visitor, "JSONSchemaPropsOrStringArray") && scalar {
            self.wrong_type("a schema or a list of strings");
            return visitor.visit_seq(Elements { items: [].iter().enumerate(), cx: self.cx });
        }
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Seq(items) => visitor.visit_seq(Elements { items: items.iter().enumerate(), cx: self.cx }),
            Value::Map(entries) => visitor.visit_map(MapEntries { entries: entries.iter(), next: None, cx: self.cx }),
        }
    }

    fn deserialize_bool<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.value {
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Null => visitor.visit_bool(false),
            _ => {
                self.wrong_type("a boolean");
                visitor.visit_bool(false)
            }
        }
    }

    fn deserialize_f32<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.value {
            Value::Float(value) => visitor.visit_f64(value),
            Value::Int(value) => visitor.visit_f64(value as f64),
            Value::Null => visitor.visit_f64(0.0),
            _ => {
                self.wrong_type("a number");
                visitor.visit_f64(0.0)
            }
        }
    }

    fn deserialize_string<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_str(self.string())
    }

    /// Of `k8s-openapi` only times and `ByteString` ask for `str`. Times were looked at before.
    fn deserialize_str<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let text = self.string();
        if expects(&visitor, "a base64-encoded string") {
            // Go's decoder passes over line ends.
            let data: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
            if is_base64(&data) {
                return visitor.visit_str(&data);
            }
            self.report(Kind::NotBase64);
            return visitor.visit_str("");
        }
        visitor.visit_borrowed_str(text)
    }

    fn deserialize_option<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'t>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(match name {
            "Quantity" => self.quantity(),
            "Time" | "MicroTime" => self.time(),
            _ => self,
        })
    }

    fn deserialize_seq<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let items: &'t [Node<'t>] = match &self.node.value {
            Value::Seq(items) => items,
            Value::Null => &[],
            _ => {
                self.wrong_type("a list");
                &[]
            }
        };
        visitor.visit_seq(Elements { items: items.iter().enumerate(), cx: self.cx })
    }

    fn deserialize_map<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let entries = self.entries("a mapping");
        visitor.visit_map(MapEntries { entries: entries.iter(), next: None, cx: self.cx })
    }

    fn deserialize_struct<V: Visitor<'t>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let entries = self.entries("an object").iter();
        visitor.visit_map(Fields { name, fields, entries, next: None, cx: self.cx })
    }

    /// `k8s-openapi` ignores the fields that it does not know.
    fn deserialize_ignored_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if let Some(key) = self.key {
            report_unknown(self.cx, key, &[]);
        }
        visitor.visit_unit()
    }

    fn deserialize_identifier<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_bytes<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_enum<V: Visitor<'t>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(self.string().into_deserializer())
    }

    fn deserialize_char<V: Visitor<'t>>(self, _: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::custom("Kubernetes has no characters"))
    }

    serde::forward_to_deserialize_any! { <W: Visitor<'t>> unit unit_struct tuple tuple_struct }
}

impl<'t> De<'_, 't> {
    fn entries(&self, wanted: &'static str) -> &'t [(Key<'t>, Node<'t>)] {
        match &self.node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            _ => {
                self.wrong_type(wanted);
                &[]
            }
        }
    }
}

/// Standard base64 with padding.
fn is_base64(text: &str) -> bool {
    let data = text.trim_end_matches('=');
    let padding = text.len() - data.len();
    let alphabet = data.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
    // The bits of the last character that belong to no byte must be zero for the decoder behind us.
    let spare_bits = match padding {
        0 => 0,
        1 => 0b11,
        2 => 0b1111,
        _ => return false,
    };
    let last = data.bytes().last().map_or(0, |b| match b {
        b'A'..=b'Z' => b - b'A',
        b'a'..=b'z' => b - b'a' + 26,
        b'0'..=b'9' => b - b'0' + 52,
        b'+' => 62,
        _ => 63,
    });
    alphabet && text.len().is_multiple_of(4) && last & spare_bits == 0
}

struct Elements<'c, 't> {
    items: std::iter::Enumerate<std::slice::Iter<'t, Node<'t>>>,
    cx: &'c Context<'t>,
}

impl<'t> SeqAccess<'t> for Elements<'_, 't> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'t>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        let Some((idx, node)) = self.items.next() else { return Ok(None) };
        let de = De { node, key: None, cx: self.cx };
        self.cx.enter(Step::Index(idx), || seed.deserialize(de)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// A mapping whose keys are the user's.
struct MapEntries<'c, 't> {
    entries: std::slice::Iter<'t, (Key<'t>, Node<'t>)>,
    next: Option<&'t (Key<'t>, Node<'t>)>,
    cx: &'c Context<'t>,
}

impl<'t> MapAccess<'t> for MapEntries<'_, 't> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'t>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        self.next = self.entries.next();
        let Some((key, _)) = self.next else { return Ok(None) };
        seed.deserialize(serde::de::value::BorrowedStrDeserializer::new(&key.name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'t>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let (key, node) = self.next.take().ok_or_else(|| DecodeError::custom("a value without its key"))?;
        let de = De { node, key: Some(key), cx: self.cx };
        self.cx.enter(Step::Entry(&key.name), || seed.deserialize(de))
    }
}

/// An object whose fields the type names.
struct Fields<'c, 't> {
    name: &'static str,
    fields: &'static [&'static str],
    entries: std::slice::Iter<'t, (Key<'t>, Node<'t>)>,
    next: Option<&'t (Key<'t>, Node<'t>)>,
    cx: &'c Context<'t>,
}

impl Fields<'_, '_> {
    /// apiVersion and kind of an object, which was chosen by them, or of one inside it, where Kubernetes does not look.
    fn is_type_meta(&self, key: &str) -> bool {
        (key == "apiVersion" || key == "kind")
            && self.fields.starts_with(&["apiVersion", "kind"])
            && self.fields.contains(&"metadata")
    }
}

impl<'t> MapAccess<'t> for Fields<'_, 't> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'t>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        while let Some(entry) = self.entries.next() {
            let (key, _) = entry;
            if self.is_type_meta(&key.name) {
                continue;
            }
            // Large in dumps, and of no use here.
            if self.name == "ObjectMeta" && key.name == "managedFields" {
                continue;
            }
            if !self.fields.contains(&key.name.as_ref()) {
                report_unknown(self.cx, key, self.fields);
                continue;
            }
            self.next = Some(entry);
            return seed.deserialize(serde::de::value::BorrowedStrDeserializer::new(&key.name)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'t>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let (key, node) = self.next.take().ok_or_else(|| DecodeError::custom("a value without its key"))?;
        let de = De { node, key: Some(key), cx: self.cx };
        self.cx.enter(Step::Field(&key.name), || seed.deserialize(de))
    }
}

/// Fields that people write one level too high, and what they belong under.
const MISPLACED: &[(&str, &str)] = &[
    ("annotations", "metadata"),
    ("containers", "spec"),
    ("containers", "template"),
    ("labels", "metadata"),
    ("limits", "resources"),
    ("matchExpressions", "selector"),
    ("matchLabels", "selector"),
    ("name", "metadata"),
    ("namespace", "metadata"),
    ("ports", "spec"),
    ("replicas", "spec"),
    ("requests", "resources"),
    ("selector", "spec"),
    ("template", "spec"),
    ("volumes", "spec"),
    ("volumes", "template"),
];

/// Points at the name without the blanks that a plain key may begin with: no-break spaces.
fn report_unknown(cx: &Context<'_>, key: &Key<'_>, fields: &[&'static str]) {
    let name = key.name.trim_start();
    let blanks = key.name.len() - name.len();
    let at = if blanks < key.span.len() { key.span.start + blanks..key.span.end } else { key.span.clone() };
    // A file of another kind altogether needs no hint for each line.
    let many = cx.problems.borrow().len() > 100;
    let nearest = if many { None } else { nearest(name, fields.iter().copied()) };
    let belongs_under = match nearest {
        None => MISPLACED.iter().find(|(field, parent)| *field == name && fields.contains(parent)).map(|(_, p)| *p),
        Some(_) => None,
    };
    let no_break_space = key.name.starts_with('\u{a0}');
    let kind = Kind::UnknownField { name: name.to_owned(), nearest, belongs_under, no_break_space, stored: cx.stored };
    // Where the type's own decoder passes over the field, the path has it already.
    let inside = matches!(cx.path.borrow().last(), Some(Step::Entry(last) | Step::Field(last)) if *last == key.name);
    cx.report_below(at, if inside && fields.is_empty() { None } else { Some(name) }, kind);
}

#[cfg(test)]
mod tests {
    use crate::manifest::{Decoded, Source, load};

    /// Each problem of a text as `line: field: message; hint`.
    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        let sources = [Source::new("f", text)];
        let loaded = load(&sources);
        let show = |p: &crate::manifest::Problem| {
            let hint = p.kind.hint().map(|h| format!("; {h}")).unwrap_or_default();
            format!("{}: {}: {}{hint}", sources[0].place(p.at.start).line, p.field, p.kind)
        };
        let got: Vec<_> = loaded.problems[0].iter().map(show).collect();
        assert_eq!(got, want);
    }

    fn pod(spec: &str) -> String {
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n{spec}")
    }

    /// The pod of a text that has no problem.
    #[track_caller]
    fn decoded(spec: &str) -> k8s_openapi::api::core::v1::PodSpec {
        let sources = [Source::new("f", pod(spec))];
        let mut loaded = load(&sources);
        assert_eq!(loaded.problems, [vec![]]);
        match loaded.objects.pop().expect("an object").decoded {
            Decoded::Pod(pod) => pod.spec.expect("a spec"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_problems_of_an_object_are_found_at_once() {
        let spec = "  containers:\n  - image: 5\n    Ports: []\n    command: [sh, 1, true]\n    env: {A: b}\n  - text\n  volumes: no\n  hostNetwork: \"true\"\n  requests: x\n";
        check(
            &pod(spec),
            &[
                "6: spec.containers[0].image: a number (5) where a string is expected; write \"5\"",
                "7: spec.containers[0].Ports: unknown field `Ports`; did you mean `ports`?",
                "8: spec.containers[0].command[1]: a number (1) where a string is expected; write \"1\"",
                "8: spec.containers[0].command[2]: a boolean (true) where a string is expected; write \"true\"",
                "9: spec.containers[0].env: an object where a list is expected",
                "10: spec.containers[1]: a string (text) where an object is expected",
                "11: spec.volumes: a boolean (no) where a list is expected",
                "12: spec.hostNetwork: a string (\"true\") where a boolean is expected; write true",
                "13: spec.requests: unknown field `requests`; it belongs under `resources`",
            ],
        );
    }

    #[test]
    fn fields_one_level_too_high_are_sent_where_they_belong() {
        check(
            &pod("  containers:\n  - name: c\n    requests: {cpu: 1}\n"),
            &["7: spec.containers[0].requests: unknown field `requests`; it belongs under `resources`"],
        );
    }

    #[test]
    fn whole_floats_are_integers_and_others_are_not() {
        assert_eq!(decoded("  priority: 3.0").priority, Some(3));
        assert_eq!(decoded("  terminationGracePeriodSeconds: 1e3").termination_grace_period_seconds, Some(1000));
        check(&pod("  priority: 3.5"), &["5: spec.priority: a number (3.5) where an integer is expected"]);
        check(&pod("  priority: 3000000000"), &["5: spec.priority: 3000000000 does not fit 32 bits"]);
        check(
            &pod("  terminationGracePeriodSeconds: 9223372036854775808"),
            &["5: spec.terminationGracePeriodSeconds: 9223372036854775808 does not fit 64 bits"],
        );
    }

    #[test]
    fn null_leaves_a_field_unset_and_an_element_empty() {
        assert_eq!(decoded("  priority: null\n  nodeSelector:\n  containers:\n").containers, []);
        let spec = decoded("  nodeSelector: {a: null}\n  containers: [{args: [null]}, null]");
        assert_eq!(spec.node_selector.expect("a selector")["a"], "");
        assert_eq!((spec.containers.len(), spec.containers[0].args.as_deref()), (2, Some(&[String::new()][..])));
    }

    #[test]
    fn quantities_and_ports_take_numbers_and_strings() {
        let spec = decoded(
            "  containers: [{resources: {limits: {cpu: .5, memory: 1Gi, a: null, b: 1e3}}, livenessProbe: {tcpSocket: {port: 80.0}}}]",
        );
        let limits = spec.containers[0].resources.clone().expect("resources").limits.expect("limits");
        let limits: Vec<_> = limits.iter().map(|(k, v)| format!("{k}={}", v.0)).collect();
        assert_eq!(limits, ["a=0", "b=1000", "cpu=0.5", "memory=1Gi"]);
        check(
            &pod(
                "  containers:\n  - resources: {limits: {cpu: [], memory: 12Gib}}\n    livenessProbe: {tcpSocket: {port: true}}\n",
            ),
            &[
                "6: spec.containers[0].resources.limits[cpu]: a list where a quantity is expected",
                "6: spec.containers[0].resources.limits[memory]: `12Gib` is not a quantity such as 500m, 2 or 1Gi",
                "7: spec.containers[0].livenessProbe.tcpSocket.port: a boolean (true) where an integer or a string is expected",
            ],
        );
    }

    #[test]
    fn times_and_base64_are_looked_at() {
        check(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n  creationTimestamp: yesterday\ndata:\n  a: aGk=\n  b: hi!\n  c: |\n    aGVs\n    bG8=\n  d: aGk\n  e: ''\n",
            &[
                "5: metadata.creationTimestamp: `yesterday` is not a time such as 2026-01-31T12:00:00Z",
                "8: data[b]: this is not base64",
                "12: data[d]: this is not base64",
            ],
        );
    }

    #[test]
    fn fields_of_an_object_from_a_cluster_are_warnings() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  uid: x\n  managedFields: [{any: thing}]\nspec:\n  oldField: 1\n";
        let sources = [Source::new("f", text)];
        let loaded = load(&sources);
        assert_eq!((loaded.has_errors(), loaded.problems[0].len(), loaded.objects.len()), (false, 1, 1));
    }

    #[test]
    fn what_was_inside_an_object_is_not_held_against_its_kind() {
        check(
            "apiVersion: apps/v1\nkind: StatefulSet\nspec:\n  volumeClaimTemplates:\n  - apiVersion: v2\n    kind: Claim\n    metadata: {name: a}\n",
            &[],
        );
    }
}
