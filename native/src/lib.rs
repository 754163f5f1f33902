pub use p2p::*;
pub use wasm;
