//! A JSON object in the making: fields that hold nothing are left out, as Kubernetes' `omitempty` does.

use serde_json::{Map, Value};

use crate::kernel::{Duration, Time};
use crate::manifest::epoch::Epoch;
use crate::model::quantity::{Format, Quantity};
use crate::model::resources::ResourceList;
use crate::model::workload::IntOrPercent;
use crate::model::{Bytes, Labels, MilliCpu, Name, Resources};

/// The fields of an object, in the order in which they are put; Kubernetes' order is that of the alphabet.
#[derive(Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn new() -> Fields {
        Fields::default()
    }

    /// The finished object.
    pub(super) fn done(self) -> Value {
        Value::Object(self.0)
    }

    /// A field, whatever its value.
    pub(super) fn put(&mut self, name: &str, value: impl Into<Value>) -> &mut Fields {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// A field unless there is no value.
    pub(super) fn some(&mut self, name: &str, value: Option<impl Into<Value>>) -> &mut Fields {
        if let Some(value) = value {
            self.put(name, value);
        }
        self
    }

    /// A text unless it is empty.
    pub(super) fn text(&mut self, name: &str, text: &str) -> &mut Fields {
        if !text.is_empty() {
            self.put(name, text);
        }
        self
    }

    /// `true`, or nothing.
    pub(super) fn flag(&mut self, name: &str, is_set: bool) -> &mut Fields {
        if is_set {
            self.put(name, true);
        }
        self
    }

    /// A number unless it is zero.
    pub(super) fn number(&mut self, name: &str, number: impl Into<i64>) -> &mut Fields {
        let number: i64 = number.into();
        if number != 0 {
            self.put(name, number);
        }
        self
    }

    /// A list or object unless it is empty.
    pub(super) fn filled(&mut self, name: &str, value: Value) -> &mut Fields {
        let empty = match &value {
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Null => true,
            _ => false,
        };
        if !empty {
            self.put(name, value);
        }
        self
    }

    /// A list of `items`, unless there are none.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        print: impl FnMut(T) -> Value,
    ) -> &mut Fields {
        self.filled(name, Value::Array(items.into_iter().map(print).collect()))
    }

    /// A list of texts, unless there are none.
    pub(super) fn names(&mut self, name: &str, names: &[Name]) -> &mut Fields {
        self.list(name, names, |name| Value::from(name.as_str()))
    }

    /// A map of texts, unless it is empty.
    pub(super) fn labels(&mut self, name: &str, labels: &Labels) -> &mut Fields {
        let map = labels.iter().map(|(key, value)| (key.to_string(), Value::from(value.as_str()))).collect();
        self.filled(name, Value::Object(map))
    }

    /// A time, unless there is none.
    pub(super) fn time(&mut self, name: &str, epoch: Epoch, time: Option<Time>) -> &mut Fields {
        self.some(name, time.map(|time| epoch.rfc3339(time)))
    }

    /// Whole seconds, even if they are zero.
    pub(super) fn seconds(&mut self, name: &str, length: Duration) -> &mut Fields {
        self.put(name, length.as_secs())
    }
}

pub(super) fn int_or_percent(value: IntOrPercent) -> Value {
    match value {
        IntOrPercent::Int(number) => Value::from(number),
        IntOrPercent::Percent(percent) => Value::from(format!("{percent}%")),
    }
}

/// CPU as Kubernetes prints it: `500m`, `2`.
pub fn cpu(amount: MilliCpu) -> String {
    Quantity::from_milli(amount.0).to_string()
}

/// Bytes in the shorter of both forms: the model does not hold whether it was written `1Gi` or `1073741824`.
pub fn bytes(amount: Bytes) -> String {
    let binary = Quantity::from_units(amount.0, Format::BinarySI).to_string();
    let decimal = Quantity::from_units(amount.0, Format::DecimalSI).to_string();
    if decimal.len() < binary.len() { decimal } else { binary }
}

/// A number of something: devices, pods.
pub(super) fn units(amount: i64) -> String {
    Quantity::from_units(amount, Format::DecimalSI).to_string()
}

/// An amount of a resource that is neither CPU nor memory nor storage.
fn extended(name: Name, amount: i64) -> String {
    if name.starts_with("hugepages-") { bytes(Bytes(amount)) } else { units(amount) }
}

/// Amounts by name, in the order of the names.
pub(super) fn resource_list(list: &ResourceList) -> Value {
    let mut entries: Vec<(&str, String)> = Vec::with_capacity(3 + list.extended.len());
    entries.extend(list.cpu.map(|amount| ("cpu", cpu(amount))));
    entries.extend(list.ephemeral_storage.map(|amount| ("ephemeral-storage", bytes(amount))));
    entries.extend(list.memory.map(|amount| ("memory", bytes(amount))));
    entries.extend(list.extended.iter().map(|&(name, amount)| (name.as_str(), extended(name, amount))));
    sorted(entries)
}

/// The same for what is there or used; what is zero is not there.
pub(super) fn resources(resources: &Resources) -> Value {
    let mut entries: Vec<(&str, String)> = Vec::with_capacity(4 + resources.extended.len());
    if resources.cpu.0 != 0 {
        entries.push(("cpu", cpu(resources.cpu)));
    }
    if resources.ephemeral_storage.0 != 0 {
        entries.push(("ephemeral-storage", bytes(resources.ephemeral_storage)));
    }
    if resources.memory.0 != 0 {
        entries.push(("memory", bytes(resources.memory)));
    }
    if resources.pods != 0 {
        entries.push(("pods", units(resources.pods)));
    }
    entries.extend(resources.extended.iter().map(|&(name, amount)| (name.as_str(), extended(name, amount))));
    sorted(entries)
}

fn sorted(mut entries: Vec<(&str, String)>) -> Value {
    entries.sort();
    Value::Object(entries.into_iter().map(|(name, amount)| (name.to_owned(), Value::from(amount))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_as_people_write_them() {
        for (amount, text) in [
            (0, "0"),
            (1024, "1Ki"),
            (1000, "1k"),
            (128_000_000, "128M"),
            (134_217_728, "128Mi"),
            (1_610_612_736, "1536Mi"),
            (1_000_000_000_000, "1T"),
            (1, "1"),
        ] {
            assert_eq!(bytes(Bytes(amount)), text);
        }
        assert_eq!(cpu(MilliCpu(1500)), "1500m");
        assert_eq!(cpu(MilliCpu(2000)), "2");
    }
}
