//! Models of other engines than ONNX Runtime as versions of a handle: what `docs/engines.md` shows, with the tests of it.
//!
//! Each module has one engine's model, and tests that it holds to what a model must, and that a handle tries, promotes and
//! takes back a second version of it. The core alone is beneath them (`default-features = false`): no ONNX Runtime is looked
//! for, and none is needed.

#[cfg(feature = "candle")]
pub mod candle;
#[cfg(feature = "lightgbm")]
pub mod lightgbm;
#[cfg(feature = "text")]
pub mod text;
#[cfg(feature = "tract")]
pub mod tract;

#[cfg(test)]
#[cfg(all(feature = "candle", feature = "tract"))]
mod between;
#[cfg(test)]
#[cfg(feature = "lightgbm")]
mod flights;
#[cfg(test)]
mod life;
#[cfg(test)]
mod page;
