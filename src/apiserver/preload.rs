//! What is there when a run begins: the nodes of a cluster that somebody set up, the objects of a dump.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::{ApiServer, Fx};
use crate::model::config::Namespace;
use crate::model::{Key, Kind, Meta, Name, Object, Uid};
use crate::trace::{Change, Record};

impl ApiServer {
    /// Stores `objects` as they are, without admission or validation: a cluster has accepted them before. Those without
    /// a uid get one; a namespace that none of them brings is made. Nobody watches yet.
    pub fn preload(&mut self, objects: Vec<Object>, fx: &mut Fx) {
        let namespaces = objects.iter().filter(|object| object.kind() == Kind::Namespace);
        let mut brought: FxHashSet<Name> = namespaces.map(|object| object.meta().name).collect();
        for object in &objects {
            let namespace = object.meta().namespace;
            if namespace.is_empty() || !brought.insert(namespace) {
                continue;
            }
            let key = Key::new(Kind::Namespace, Name::default(), namespace);
            if self.store.get(&key).is_none() {
                let meta = Meta::named(Name::default(), namespace);
                self.store_as_is(Object::Namespace(Arc::new(Namespace { meta })), fx);
            }
        }
        for object in objects {
            self.store_as_is(object, fx);
        }
    }

    fn store_as_is(&mut self, mut object: Object, fx: &mut Fx) {
        let uid = match self.store.get(&object.key()) {
            Some(existing) => existing.meta().uid,
            None if object.meta().uid != Uid::NONE => object.meta().uid,
            None => self.store.next_uid(&object.key()),
        };
        object.meta_mut().uid = uid;
        if let Object::Event(event) = object {
            let event = self.store.put_event(fx.now(), Object::Event(event));
            if let Object::Event(event) = event {
                fx.note(Record::Event(event));
            }
            return;
        }
        let object = self.store.put(object);
        fx.note(Record::Written(Change::Created, object));
    }
}
