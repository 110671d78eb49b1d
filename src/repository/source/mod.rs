//! Versions elsewhere, and how one is pulled into a repository.

// # Design decisions
//
// **A source lists folders and reads objects, and no more.** It could also tell when an object changed. Nothing asks: what is
// read is held against digests, and the few objects that have none (tags, a manifest) are read whole and once.
//
// **What a source says is a name or bytes, never a path.** Every name is one that a repository here could have, and is joined
// to a folder of ours only after that was looked at; how many bytes are taken is the manifest's to say, not the source's.
//
// **What was pulled in part is kept**, under a name that follows from the version, and gone on with only while the manifest is
// the same to the byte. `sweep` removes it like whatever a killed publisher has left.

#[cfg(feature = "bucket")]
pub(crate) mod bucket;
pub(crate) mod error;
pub(crate) mod folder;
pub(crate) mod pull;
pub(crate) mod source;
