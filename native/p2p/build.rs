fn main() {
    cxx_build::bridge("src/lib.rs").include("include").std("c++20").compile("tau_p2p_bridge");
    println!("cargo:rerun-if-changed=src/lib.rs");
    println!("cargo:rerun-if-changed=include/tau_p2p_callbacks.h");
}
