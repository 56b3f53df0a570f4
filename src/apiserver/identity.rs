//! What new objects are called and known by: uids, and the names that `generateName` asks for.
//!
//! Kubernetes: staging/src/k8s.io/apiserver/pkg/storage/names/generate.go, RetryGenerateName in
//! …/registry/generic/registry/store.go. Uids are random there; here they are counted, or made from names.

use rustc_hash::FxHashSet;
use xxhash_rust::xxh3::xxh3_64;

use crate::kernel::{Stream, Streams};
use crate::model::{Key, Name, Uid};

use super::Store;

/// What uids and generated names are made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// The order in which objects are created.
    #[default]
    Counted,
    /// Kind, namespace and name, and how often that name was given before. A second run gives an object the uid that the
    /// first gave it, also where the order of creation depends on the wall clock: pods of real nodes are found again by
    /// their uids.
    Named,
}

/// The uids of a store.
#[derive(Debug, Default)]
pub(super) struct Uids {
    last: u64,
    /// With [`Identity::Named`]: all that were given.
    given: Option<FxHashSet<Uid>>,
}

impl Uids {
    pub fn new(identity: Identity) -> Uids {
        Uids { last: 0, given: (identity == Identity::Named).then(FxHashSet::default) }
    }

    /// A uid for a new object with this key.
    pub fn next(&mut self, key: &Key) -> Uid {
        match &self.given {
            None => {
                self.last += 1;
                Uid(self.last)
            }
            // One that other keys have by accident is left out, too.
            Some(given) => (0..).map(|n| named(key, n)).find(|uid| !given.contains(uid)).unwrap_or(Uid::NONE),
        }
    }

    /// An object with this uid is stored for the first time.
    pub fn give(&mut self, uid: Uid) {
        if let Some(given) = &mut self.given {
            given.insert(uid);
        }
    }

    /// True if an object with this key was there, where that is known.
    pub fn has_had(&self, key: &Key) -> bool {
        self.given.as_ref().is_some_and(|given| given.contains(&named(key, 0)))
    }
}

/// The uid of the object that is the `n`th with its key. Below those of other clusters.
fn named(key: &Key, n: u32) -> Uid {
    let hash = xxh3_64(format!("{}/{}/{}/{n}", key.kind.as_str(), key.namespace, key.name).as_bytes());
    Uid(hash % (Uid::FIRST_FOREIGN - 1) + 1)
}

/// Makes names from `generateName`.
#[derive(Debug)]
pub(super) struct Names {
    identity: Identity,
    streams: Streams,
    stream: Stream,
}

impl Names {
    pub fn new(identity: Identity, streams: &Streams) -> Names {
        Names { identity, streams: *streams, stream: streams.stream("apiserver", "generate-name") }
    }

    /// A name for an object whose key has the base in the name's place.
    pub fn generate(&mut self, store: &Store, base: &Key) -> Name {
        let mut made = Name::default();
        match self.identity {
            Identity::Counted => {
                for _ in 0..8 {
                    made = generated(base.name, &mut self.stream);
                    if store.get(&Key { name: made, ..*base }).is_none() {
                        break;
                    }
                }
            }
            Identity::Named => {
                for n in 0..u32::MAX {
                    let purpose = format!("{}/{}/{}/{n}", base.kind.as_str(), base.namespace, base.name);
                    made = generated(base.name, &mut self.streams.stream("apiserver/generate-name", &purpose));
                    if !store.has_had(&Key { name: made, ..*base }) {
                        break;
                    }
                }
            }
        }
        made
    }
}

/// `base` and five characters, cut so that it is a label (names/generate.go, SimpleNameGenerator).
fn generated(base: Name, stream: &mut Stream) -> Name {
    /// Without vowels and digits that look like letters (util/rand).
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    const MAX_BASE: usize = 58;
    let mut end = base.len().min(MAX_BASE);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = String::with_capacity(end + 5);
    name.push_str(&base[..end]);
    for _ in 0..5 {
        name.push(char::from(ALPHABET[stream.below(ALPHABET.len() as u64) as usize]));
    }
    Name::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::Namespace;
    use crate::model::{Kind, Meta, Object};

    fn key(name: &str) -> Key {
        Key { kind: Kind::Namespace, namespace: Name::default(), name: Name::new(name) }
    }

    /// Stores objects of these names, one after another, and removes them at once: their uids by name, sorted.
    fn uids(identity: Identity, names: &[&str]) -> Vec<(String, Uid)> {
        let mut store = Store::new(identity);
        let mut made = Vec::new();
        for name in names {
            let mut meta = Meta::named(Name::default(), *name);
            meta.uid = store.next_uid(&key(name));
            made.push(((*name).to_owned(), meta.uid));
            store.put(Object::Namespace(std::sync::Arc::new(Namespace { meta })));
            store.remove(&key(name));
        }
        made.sort();
        made
    }

    #[test]
    fn uids_made_from_names_are_the_same_in_every_order_and_never_given_twice() {
        let made = uids(Identity::Named, &["a", "b", "a"]);
        let mut again = uids(Identity::Named, &["b", "a", "a"]);
        assert_eq!(made, again);
        again.dedup_by_key(|(_, uid)| *uid);
        assert_eq!(again.len(), 3);
        assert_ne!(uids(Identity::Counted, &["a", "b"]), uids(Identity::Counted, &["b", "a"]));
    }

    #[test]
    fn names_made_from_a_base_do_not_depend_on_what_other_bases_got_before() {
        let streams = Streams::new(7);
        let make = |bases: &[&str]| {
            let mut store = Store::new(Identity::Named);
            let mut names = Names::new(Identity::Named, &streams);
            let mut made = Vec::new();
            for base in bases {
                let name = names.generate(&store, &key(base));
                let mut meta = Meta::named(Name::default(), name);
                meta.uid = store.next_uid(&key(&name));
                store.put(Object::Namespace(std::sync::Arc::new(Namespace { meta })));
                made.push(name.to_string());
            }
            made.sort();
            made
        };
        let made = make(&["web-", "web-", "api-"]);
        assert_eq!(made, make(&["api-", "web-", "web-"]));
        assert_ne!(made[1], made[2], "{made:?}");
    }
}
