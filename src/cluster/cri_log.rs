//! What kubelets said to their runtimes and what these answered, for those who compare it with a recording.

use crate::kernel::Time;
use crate::model::Name;
use crate::protocol::cri;

/// What was said.
#[derive(Clone, Debug, PartialEq)]
pub enum CriSaid {
    Request(cri::Request),
    Response(cri::Response),
}

/// Something that was said, when it was heard.
#[derive(Clone, Debug, PartialEq)]
pub struct CriEntry {
    pub time: Time,
    pub node: Name,
    pub said: CriSaid,
}

/// All that was said, if it is kept at all.
#[derive(Debug, Default)]
pub struct CriLog(pub(super) Option<Vec<CriEntry>>);

impl CriLog {
    pub(super) fn note(&mut self, time: Time, node: Name, said: impl FnOnce() -> CriSaid) {
        if let Some(entries) = &mut self.0 {
            entries.push(CriEntry { time, node, said: said() });
        }
    }
}
