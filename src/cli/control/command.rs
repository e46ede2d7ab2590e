//! The requests that tell a server to change something. Whoever may open its control socket may ask for them.

use serde_json::{Value, json};

use crate::berkeley::Server;
use crate::berkeley::event::Peer;
use crate::berkeley::server::{Changed, Unchangeable};
use crate::time::Now;

/// What such requests are called.
pub const NAMES: [&str; 2] = ["remove", "pin"];

/// Does what a request tells a server to; `None`: it is another kind of request.
pub fn server(server: &mut Server, _now: Now, request: &Value) -> Option<Result<Value, String>> {
    let member = || request["member"].as_str().ok_or("the request has no field 'member' with a string in it");
    Some(match request["request"].as_str()? {
        "remove" => member().map_err(str::to_owned).and_then(|whom| told(server.remove_from_vote(whom))),
        "pin" => member().map_err(str::to_owned).and_then(|whom| told(server.pin_to_vote(whom))),
        _ => return None,
    })
}

fn told(result: Result<Changed, Unchangeable>) -> Result<Value, String> {
    let Changed { client, changed } = result.map_err(|error| error.to_string())?;
    let mut answer = peer(&client);
    answer["changed"] = changed.into();
    Ok(answer)
}

/// Who.
pub fn peer(peer: &Peer) -> Value {
    json!({ "name": peer.name.as_str(), "address": peer.address.to_string() })
}
