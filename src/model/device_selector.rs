//! CEL expressions that select devices: `device.driver == "gpu.example.com" && device.capacity["gpu.example.com"].memory.compareTo(quantity("40Gi")) >= 0`.
//!
//! The API server checks that they can be read, the scheduler evaluates them. A device has `driver`, `attributes` and
//! `capacity` (by domain, then by name) and `allowMultipleAllocations`; quantities and semantic versions have Kubernetes'
//! functions.
//!
//! Kubernetes: staging/src/k8s.io/dynamic-resource-allocation/cel/compile.go, staging/src/k8s.io/apiserver/pkg/cel/library
//! (quantity, semver). Types are not checked before an expression is evaluated, and its cost is not limited.

use std::cmp::Ordering;
use std::sync::Arc;

use cel::extractors::This;
use cel::objects::{Key as CelKey, Map, Opaque};
use cel::{Context, ExecutionError, Program, Value};

use super::Name;
use super::device::{Attribute, Device};
use super::quantity::{Format, Quantity};

/// A selector that can be evaluated.
#[derive(Clone, Debug)]
pub struct DeviceSelector {
    program: Arc<Program>,
    /// The domains that it looks up: those that a device lacks are empty rather than missing.
    domains: Vec<String>,
}

impl DeviceSelector {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(expression: &str) -> Result<DeviceSelector, String> {
        let failed = |why: &str| format!("compilation failed: ERROR: <input>:{why}");
        let program = Program::compile(expression).map_err(|errors| match errors.errors.first() {
            Some(first) => {
                let (line, column) = first.pos;
                failed(&format!("{}:{}: Syntax error: {}", line.max(1), column.max(0) + 1, first.msg))
            }
            None => failed("1:1: Syntax error"),
        })?;
        // Macros bring variables of their own, which are not told apart from unknown ones.
        let has_macros = [".all(", ".exists(", ".exists_one(", ".map(", ".filter(", "bind("]
            .iter()
            .any(|name| expression.contains(name));
        if !has_macros {
            let references = program.references();
            let unknown = references.variables().into_iter().filter(|name| *name != "device").min();
            if let Some(unknown) = unknown {
                let at = expression.find(unknown).unwrap_or(0) + 1;
                return Err(failed(&format!("1:{at}: undeclared reference to '{unknown}' (in container '')")));
            }
        }
        Ok(DeviceSelector { program: Arc::new(program), domains: domains(expression) })
    }

    /// True if the device of this driver meets the expression.
    ///
    /// # Errors
    /// What it stumbles over, such as an attribute that the device doesn't have.
    pub fn matches(&self, driver: Name, device: &Device) -> Result<bool, String> {
        let value = value_of(driver, device, &self.domains);
        FUNCTIONS.with(|functions| {
            let mut scope = functions.new_inner_scope();
            scope.add_variable_from_value("device", value);
            match self.program.execute(&scope) {
                Ok(Value::Bool(matches)) => Ok(matches),
                Ok(_) => Err("must evaluate to bool".to_owned()),
                Err(ExecutionError::NoSuchKey(key)) => Err(format!("no such key: {key}")),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

/// The texts in `attributes["…"]` and `capacity["…"]`.
fn domains(expression: &str) -> Vec<String> {
    let mut found = Vec::new();
    for field in ["attributes[", "capacity["] {
        for (at, _) in expression.match_indices(field) {
            let rest = expression.get(at + field.len()..).unwrap_or_default().trim_start();
            let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
            let inner = quote.and_then(|quote| rest.get(1..)?.split(quote).next());
            found.extend(inner.map(str::to_owned));
        }
    }
    found.sort();
    found.dedup();
    found
}

fn key(text: &str) -> CelKey {
    CelKey::String(Arc::new(text.to_owned()))
}

fn text(text: &str) -> Value {
    Value::String(Arc::new(text.to_owned()))
}

fn map(entries: impl Iterator<Item = (CelKey, Value)>) -> Value {
    Value::Map(Map { map: Arc::new(entries.collect()) })
}

fn value_of(driver: Name, device: &Device, domains: &[String]) -> Value {
    let attributes = device.attributes.iter().map(|(name, attribute)| {
        let value = match attribute {
            Attribute::Int(number) => Value::Int(*number),
            Attribute::Bool(flag) => Value::Bool(*flag),
            Attribute::Text(name) => text(name.as_str()),
            Attribute::Version(version) => match Semver::parse(version) {
                Some(version) => Value::Opaque(Arc::new(version)),
                None => text(version.as_str()),
            },
        };
        (*name, value)
    });
    let capacity =
        device.capacity.iter().map(|(name, capacity)| (*name, Value::Opaque(Arc::new(Amount(capacity.value)))));
    map([
        (key("driver"), text(driver.as_str())),
        (key("attributes"), by_domain(driver, attributes, domains)),
        (key("capacity"), by_domain(driver, capacity, domains)),
        (key("allowMultipleAllocations"), Value::Bool(device.shareable)),
    ]
    .into_iter())
}

/// Values by domain, which is the driver's where a name has none.
fn by_domain(driver: Name, values: impl Iterator<Item = (Name, Value)>, domains: &[String]) -> Value {
    let mut all: Vec<(&str, Vec<(CelKey, Value)>)> =
        domains.iter().map(|domain| (domain.as_str(), Vec::new())).collect();
    for (name, value) in values {
        let (domain, id) = name.as_str().split_once('/').unwrap_or((driver.as_str(), name.as_str()));
        match all.iter_mut().find(|(known, _)| *known == domain) {
            Some((_, values)) => values.push((key(id), value)),
            None => all.push((domain, vec![(key(id), value)])),
        }
    }
    map(all.into_iter().map(|(domain, values)| (key(domain), map(values.into_iter()))))
}

/// A quantity in an expression.
#[derive(Debug, PartialEq, Eq)]
struct Amount(Quantity);

impl Opaque for Amount {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.Quantity"
    }
}

/// A semantic version in an expression: major, minor, patch, and what makes it a pre-release. Build metadata doesn't count.
#[derive(Debug, PartialEq, Eq)]
struct Semver {
    numbers: [u64; 3],
    pre_release: Vec<String>,
}

impl Opaque for Semver {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.Semver"
    }
}

impl Semver {
    fn parse(text: &str) -> Option<Semver> {
        let text = text.split('+').next()?;
        let (numbers, pre_release) = text.split_once('-').map_or((text, ""), |(numbers, rest)| (numbers, rest));
        let mut parts = numbers.split('.');
        let mut number = || {
            let part = parts.next()?;
            let plain = part == "0" || (!part.starts_with('0') && part.bytes().all(|byte| byte.is_ascii_digit()));
            if plain { part.parse().ok() } else { None }
        };
        let numbers = [number()?, number()?, number()?];
        if parts.next().is_some() {
            return None;
        }
        let pre_release = pre_release.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Some(Semver { numbers, pre_release })
    }
}

impl Ord for Semver {
    fn cmp(&self, other: &Semver) -> Ordering {
        let numbers = self.numbers.cmp(&other.numbers);
        if numbers != Ordering::Equal {
            return numbers;
        }
        // A release comes after its pre-releases.
        match (self.pre_release.is_empty(), other.pre_release.is_empty()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            (false, false) => {}
        }
        for (one, two) in self.pre_release.iter().zip(&other.pre_release) {
            let order = match (one.parse::<u64>(), two.parse::<u64>()) {
                (Ok(one), Ok(two)) => one.cmp(&two),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => one.cmp(two),
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        self.pre_release.len().cmp(&other.pre_release.len())
    }
}

impl PartialOrd for Semver {
    fn partial_cmp(&self, other: &Semver) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

thread_local! {
    /// The functions that expressions can call, made once.
    static FUNCTIONS: Context<'static, 'static> = functions();
}

type Answer = Result<Value, ExecutionError>;

fn no_overload(function: &str) -> ExecutionError {
    ExecutionError::function_error(function, "no such overload")
}

/// How two quantities or two versions compare.
fn compare(function: &str, this: &Value, other: &Value) -> Result<Ordering, ExecutionError> {
    let (Value::Opaque(this), Value::Opaque(other)) = (this, other) else { return Err(no_overload(function)) };
    if let (Some(this), Some(other)) = (this.downcast_ref::<Amount>(), other.downcast_ref::<Amount>()) {
        return Ok(this.0.cmp(&other.0));
    }
    match (this.downcast_ref::<Semver>(), other.downcast_ref::<Semver>()) {
        (Some(this), Some(other)) => Ok(this.cmp(other)),
        _ => Err(no_overload(function)),
    }
}

fn amount(function: &str, value: &Value) -> Result<Quantity, ExecutionError> {
    match value {
        Value::Opaque(value) => {
            value.downcast_ref::<Amount>().map(|amount| amount.0).ok_or_else(|| no_overload(function))
        }
        Value::Int(number) => Ok(Quantity::from_units(*number, Format::DecimalSI)),
        _ => Err(no_overload(function)),
    }
}

fn functions() -> Context<'static, 'static> {
    fn is_declared(result: Result<(), cel::DeclarationError>) {
        debug_assert!(result.is_ok(), "a function of this name is CEL's own: {result:?}");
    }
    let mut context = Context::default();
    is_declared(context.add_function("quantity", |text: Arc<String>| -> Answer {
        let parsed = text.parse::<Quantity>();
        let parsed = parsed.map_err(|error| ExecutionError::function_error("quantity", error.to_string()))?;
        Ok(Value::Opaque(Arc::new(Amount(parsed))))
    }));
    is_declared(context.add_function("isQuantity", |text: Arc<String>| -> Answer {
        Ok(Value::Bool(text.parse::<Quantity>().is_ok()))
    }));
    is_declared(context.add_function("semver", |text: Arc<String>| -> Answer {
        let parsed = Semver::parse(&text);
        let parsed =
            parsed.ok_or_else(|| ExecutionError::function_error("semver", "No Major.Minor.Patch elements found"))?;
        Ok(Value::Opaque(Arc::new(parsed)))
    }));
    is_declared(
        context.add_function("isSemver", |text: Arc<String>| -> Answer {
            Ok(Value::Bool(Semver::parse(&text).is_some()))
        }),
    );
    is_declared(context.add_function("compareTo", |This(this): This<Value>, other: Value| -> Answer {
        Ok(Value::Int(compare("compareTo", &this, &other)? as i64))
    }));
    is_declared(context.add_function("isGreaterThan", |This(this): This<Value>, other: Value| -> Answer {
        Ok(Value::Bool(compare("isGreaterThan", &this, &other)? == Ordering::Greater))
    }));
    is_declared(context.add_function("isLessThan", |This(this): This<Value>, other: Value| -> Answer {
        Ok(Value::Bool(compare("isLessThan", &this, &other)? == Ordering::Less))
    }));
    is_declared(context.add_function("sign", |This(this): This<Value>| -> Answer {
        Ok(Value::Int(amount("sign", &this)?.nanos().signum() as i64))
    }));
    is_declared(context.add_function("isInteger", |This(this): This<Value>| -> Answer {
        Ok(Value::Bool(amount("isInteger", &this)?.is_whole()))
    }));
    is_declared(context.add_function("asInteger", |This(this): This<Value>| -> Answer {
        let amount = amount("asInteger", &this)?;
        if !amount.is_whole() {
            return Err(ExecutionError::function_error("asInteger", "cannot convert value to integer"));
        }
        Ok(Value::Int(amount.value_rounding_up()))
    }));
    is_declared(context.add_function("add", |This(this): This<Value>, other: Value| -> Answer {
        let sum = amount("add", &this)?.plus(amount("add", &other)?);
        Ok(Value::Opaque(Arc::new(Amount(sum))))
    }));
    is_declared(context.add_function("sub", |This(this): This<Value>, other: Value| -> Answer {
        let difference = amount("sub", &this)?.minus_nanos(amount("sub", &other)?.nanos());
        Ok(Value::Opaque(Arc::new(Amount(difference))))
    }));
    for (place, name) in ["major", "minor", "patch"].into_iter().enumerate() {
        is_declared(context.add_function(name, move |This(this): This<Value>| -> Answer {
            let Value::Opaque(this) = &this else { return Err(no_overload(name)) };
            let version = this.downcast_ref::<Semver>().ok_or_else(|| no_overload(name))?;
            Ok(Value::Int(i64::try_from(version.numbers[place]).unwrap_or(i64::MAX)))
        }));
    }
    context
}

#[cfg(test)]
mod tests {
    use super::super::device::Capacity;
    use super::*;

    fn gpu() -> Device {
        let capacity = |text: &str| Capacity { value: text.parse().expect("a quantity"), policy: None };
        Device {
            attributes: vec![
                (Name::new("dra.example.com/slice"), Attribute::Int(7)),
                (Name::new("ecc"), Attribute::Bool(true)),
                (Name::new("model"), Attribute::Text(Name::new("LATEST-GPU-MODEL"))),
                (Name::new("version"), Attribute::Version(Name::new("1.10.0"))),
            ],
            capacity: vec![(Name::new("memory"), capacity("80Gi"))],
            ..Device::default()
        }
    }

    #[track_caller]
    fn check(expression: &str, wanted: Result<bool, &str>) {
        let got = DeviceSelector::compile(expression)
            .and_then(|selector| selector.matches(Name::new("gpu.example.com"), &gpu()));
        assert_eq!(got, wanted.map_err(str::to_owned), "{expression}");
    }

    #[test]
    fn a_device_shows_its_driver_attributes_and_capacity() {
        check("device.driver == 'gpu.example.com'", Ok(true));
        check(
            "device.attributes['gpu.example.com'].model.lowerAscii() == 'x'",
            Err("Undeclared reference to 'lowerAscii'"),
        );
        check("device.attributes['gpu.example.com'].model.startsWith('LATEST')", Ok(true));
        check("device.attributes[\"dra.example.com\"].slice == 7", Ok(true));
        check("device.attributes['gpu.example.com'].ecc && !device.allowMultipleAllocations", Ok(true));
        check("device.capacity['gpu.example.com'].memory.compareTo(quantity('40Gi')) > 0", Ok(true));
        check("device.capacity['gpu.example.com'].memory.isLessThan(quantity('80Gi'))", Ok(false));
        check("device.capacity['gpu.example.com'].memory == quantity('80Gi')", Ok(true));
        check("device.capacity['gpu.example.com'].memory.asInteger() == 85899345920", Ok(true));
    }

    #[test]
    fn versions_compare_by_their_numbers() {
        check("device.attributes['gpu.example.com'].version.isGreaterThan(semver('1.9.0'))", Ok(true));
        check("device.attributes['gpu.example.com'].version.isLessThan(semver('1.10.0-rc.1'))", Ok(false));
        check("device.attributes['gpu.example.com'].version.minor() == 10", Ok(true));
        check("isSemver('1.2') || isQuantity('2x')", Ok(false));
    }

    #[test]
    fn an_attribute_that_is_missing_is_an_error_and_a_domain_that_is_missing_is_empty() {
        check("device.attributes['gpu.example.com'].colour == 'red'", Err("no such key: colour"));
        check("'colour' in device.attributes['gpu.example.com']", Ok(false));
        check("'colour' in device.attributes['other.example.com']", Ok(false));
        check("has(device.attributes['other.example.com'].colour)", Ok(false));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for wrong in ["device.driver ==", "devices.driver == 'x'", "noSuchVariable"] {
            let error = DeviceSelector::compile(wrong).expect_err("it is wrong");
            assert!(error.starts_with("compilation failed: ERROR: <input>:1:"), "{error}");
        }
        check("device.driver", Err("must evaluate to bool"));
    }
}
