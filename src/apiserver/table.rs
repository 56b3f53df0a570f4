//! The objects of one kind: found by namespace and name at once, walked in the order in which they were created.

use rustc_hash::FxHashMap;

use crate::model::{Name, Object};

/// Slots in the order of creation. A removed object leaves an empty slot, and the table is packed when more than half
/// of the slots are empty, so that a removal costs the same however many objects there are.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Option<Object>>,
    by_name: FxHashMap<(Name, Name), u32>,
}

/// Below this many slots packing is not worth its while.
const PACK_FROM: usize = 64;

impl Table {
    pub(super) fn get(&self, namespace: Name, name: Name) -> Option<&Object> {
        let &slot = self.by_name.get(&(namespace, name))?;
        self.slots[slot as usize].as_ref()
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// All objects, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Object> {
        self.slots.iter().flatten()
    }

    /// Puts `object` into its slot, or into a new one; the object that was there.
    pub(super) fn put(&mut self, object: Object) -> Option<Object> {
        let meta = object.meta();
        let name = (meta.namespace, meta.name);
        match self.by_name.get(&name) {
            Some(&slot) => self.slots[slot as usize].replace(object),
            None => {
                self.by_name.insert(name, self.slots.len() as u32);
                self.slots.push(Some(object));
                None
            }
        }
    }

    pub(super) fn remove(&mut self, namespace: Name, name: Name) -> Option<Object> {
        let slot = self.by_name.remove(&(namespace, name))?;
        let object = self.slots[slot as usize].take();
        if self.slots.len() >= PACK_FROM && self.by_name.len() * 2 < self.slots.len() {
            self.pack();
        }
        object
    }

    fn pack(&mut self) {
        self.slots.retain(Option::is_some);
        self.slots.shrink_to(self.slots.len() * 2);
        for (slot, object) in self.slots.iter().flatten().enumerate() {
            let meta = object.meta();
            self.by_name.insert((meta.namespace, meta.name), slot as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::Namespace;
    use crate::model::{Meta, Uid};
    use std::sync::Arc;

    fn object(name: usize) -> Object {
        let meta = Meta { uid: Uid(name as u64), ..Meta::named("", format!("o{name}")) };
        Object::Namespace(Arc::new(Namespace { meta }))
    }

    #[test]
    fn objects_keep_the_order_of_their_creation_when_most_are_removed() {
        let mut table = Table::default();
        for name in 0..1000 {
            table.put(object(name));
        }
        for name in (0..1000).filter(|name| name % 7 != 0) {
            assert!(table.remove(Name::default(), Name::from(format!("o{name}"))).is_some());
        }
        let left: Vec<u64> = table.iter().map(|object| object.meta().uid.0).collect();
        assert_eq!(left, (0..1000).filter(|name| name % 7 == 0).collect::<Vec<_>>());
        assert_eq!(table.len(), left.len());
        assert!(table.slots.len() < 400, "{} slots for {} objects", table.slots.len(), left.len());
        for uid in left {
            let found = table.get(Name::default(), Name::from(format!("o{uid}")));
            assert_eq!(found.map(|object| object.meta().uid), Some(Uid(uid)));
        }
    }
}
