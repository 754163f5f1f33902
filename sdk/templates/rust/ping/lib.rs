use taubyte_sdk::event::Event;

// The function's configuration names this one: `call: ping`. Any result but 0 says that it failed.
#[no_mangle]
pub fn ping(event: Event) -> u32 {
    let Ok(http) = event.http() else { return 1 };
    match http.write("pong".as_bytes()) {
        Ok(_) => 0,
        Err(_) => 1,
    }
}
