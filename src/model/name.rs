//! Interned strings.

use std::borrow::Borrow;
use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock};

use rustc_hash::{FxBuildHasher, FxHashSet};

/// A string that occurs often: an object's name, a namespace, a label's key or value, an image, a reason.
///
/// Interned once a process: a `Name` is a pointer, copied freely, equal when the pointers are. It is ordered by its
/// text, so nothing depends on where it lies. The table only grows; it holds each distinct text once.
#[derive(Clone, Copy)]
pub struct Name(&'static &'static str);

const SHARDS: usize = 64;

#[derive(Default)]
struct Shard(Mutex<Names>);

/// The names of one shard, and the room for more. What is made lives as long as the process, so it is cut from big blocks:
/// an allocation of its own for each text and each pointer would double what a name costs.
#[derive(Default)]
struct Names {
    known: FxHashSet<Entry>,
    texts: &'static mut [u8],
    pointers: &'static mut [&'static str],
}

/// Sizes of the blocks.
const TEXT_BLOCK: usize = 4096;
const POINTER_BLOCK: usize = 128;

impl Names {
    fn add(&mut self, text: &str) -> Name {
        if self.texts.len() < text.len() {
            self.texts = Vec::leak(vec![0; TEXT_BLOCK.max(text.len())]);
        }
        if self.pointers.is_empty() {
            self.pointers = Vec::leak(vec![""; POINTER_BLOCK]);
        }
        let (room, rest) = std::mem::take(&mut self.texts).split_at_mut(text.len());
        self.texts = rest;
        room.copy_from_slice(text.as_bytes());
        let (pointer, rest) =
            std::mem::take(&mut self.pointers).split_first_mut().expect("a new block was made if there was no room");
        self.pointers = rest;
        *pointer = std::str::from_utf8(room).expect("it was copied from a text");
        let entry: &'static &'static str = pointer;
        self.known.insert(Entry(entry));
        Name(entry)
    }
}

/// Found by its text, so that a look-up needs no `Name`.
#[derive(PartialEq, Eq, Hash)]
struct Entry(&'static &'static str);

impl Borrow<str> for Entry {
    fn borrow(&self) -> &str {
        self.0
    }
}

fn shards() -> &'static [Shard; SHARDS] {
    static TABLE: OnceLock<[Shard; SHARDS]> = OnceLock::new();
    TABLE.get_or_init(|| std::array::from_fn(|_| Shard::default()))
}

thread_local! {
    /// Names that were asked for lately: most are (reasons, types of conditions, keys of labels), again and again. What is
    /// in it changes nothing but the time that it takes.
    static RECENT: [Cell<Option<Name>>; 256] = const { [const { Cell::new(None) }; 256] };
}

/// Where a text has its place among the recent ones.
fn recent_slot(text: &str) -> usize {
    let bytes = text.as_bytes();
    let at = |index: usize| bytes.get(index).copied().map_or(0, usize::from);
    let last = bytes.len().saturating_sub(1);
    (bytes.len() * 7 + at(0) * 31 + at(last / 2) * 17 + at(last) * 5) % 256
}

impl Name {
    /// The name with this text.
    pub fn new(text: &str) -> Name {
        RECENT.with(|recent| {
            let recent = &recent[recent_slot(text)];
            match recent.get() {
                Some(name) if *name.0 == text => name,
                _ => {
                    let name = Name::intern(text);
                    recent.set(Some(name));
                    name
                }
            }
        })
    }

    fn intern(text: &str) -> Name {
        let hash = FxBuildHasher.hash_one(text);
        let shard = &shards()[(hash >> 48) as usize % SHARDS];
        // A panic while the lock is held can only come from running out of memory; the set is whole even then.
        let mut names = shard.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match names.known.get(text) {
            Some(entry) => Name(entry.0),
            None => names.add(text),
        }
    }

    /// The text.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// True for the empty text.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl Default for Name {
    fn default() -> Name {
        static EMPTY: OnceLock<Name> = OnceLock::new();
        *EMPTY.get_or_init(|| Name::new(""))
    }
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        self.0
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Name {}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        *self.0 == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other
    }
}

/// By address: fit for look-up, never for an order. Hash maps over names are not iterated.
impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self.0).hash(state);
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Name) -> Ordering {
        if self == other { Ordering::Equal } else { self.0.cmp(other.0) }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Name {
        Name::new(text)
    }
}

impl From<&String> for Name {
    fn from(text: &String) -> Name {
        Name::new(text)
    }
}

impl From<String> for Name {
    fn from(text: String) -> Name {
        Name::new(&text)
    }
}

/// A message: text that seldom repeats, so it is shared but not interned. Empty takes no memory.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Option<Arc<str>>);

impl Text {
    /// The message with this text.
    pub fn new(text: impl AsRef<str>) -> Text {
        let text = text.as_ref();
        Text((!text.is_empty()).then(|| text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("")
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text::new(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_name_and_order_is_by_text() {
        assert_eq!(Name::new("web"), Name::new(&String::from("web")));
        assert_ne!(Name::new("web"), Name::new("web-1"));
        assert!(Name::new("zz-first-made") > Name::new("aa-made-later"));
        assert!(Name::default().is_empty());
    }
}
