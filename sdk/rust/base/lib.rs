// Nothing: see Cargo.toml.
use taubyte_sdk as _;
