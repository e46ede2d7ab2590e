//! Parses the requests at a node's control socket, and writes the responses.

use serde::Serialize;

use super::event_log::{EventLog, LoggedEvent};
use super::node::{ClientPage, CommandError, ControlledNode};
use super::protocol::{
    ErrorResponse, EventsResponse, NodeStatus, Request, Status, StatusResponse, TakeoverResponse, VERSION,
};
use super::socket::{Query, ResponsePart};
use super::takeover::{self, TakeoverError};
use crate::report::{ClockSnapshot, EventHeader, place_of};
use crate::udp::ServerList;
use meantime_core::roles::rank::Rank;
use meantime_core::time::Now;

/// Answers the requests at a node's control socket.
#[derive(Debug)]
pub struct RequestHandler {
    log: EventLog,
    /// The list of servers that the node is, or follows, one of.
    servers: Option<ServerList>,
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("a request is a JSON object on one line, as in {{\"request\":\"status\"}}: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl RequestHandler {
    /// A handler for a node that is, or follows, one of these servers.
    pub fn new(servers: Option<ServerList>) -> RequestHandler {
        RequestHandler { log: EventLog::default(), servers }
    }

    /// Adds an event to the log.
    pub fn log(&mut self, event: LoggedEvent) {
        self.log.push(event);
    }

    /// The response to a request, or the first part of it; or the next part of a response.
    pub fn respond<N: ControlledNode>(
        &self,
        node: &mut N,
        now: Now,
        at: &ClockSnapshot,
        query: Query<'_>,
    ) -> ResponsePart {
        let line = match query {
            Query::Next(first) => return next_part(node.clients(now, first, PAGE)),
            Query::Request(line) => line,
        };
        self.try_respond(node, now, at, line).unwrap_or_else(|error| {
            json(&ErrorResponse { version: VERSION, error: error.to_string() }).into()
        })
    }

    fn try_respond<N: ControlledNode>(
        &self,
        node: &mut N,
        now: Now,
        at: &ClockSnapshot,
        line: &str,
    ) -> Result<ResponsePart, RequestError> {
        Ok(match serde_json::from_str(line)? {
            Request::Status => self.status(node, now, at),
            Request::Events { since } => {
                let (newest_event, events) = (self.log.newest(), self.log.since(since));
                json(&EventsResponse { version: VERSION, newest_event, events }).into()
            }
            Request::Remove { member } => json(&node.remove(&member)?).into(),
            Request::Pin { member } => json(&node.pin(&member)?).into(),
            Request::Ban { member } => json(&node.ban(now, &member)?).into(),
            Request::Unban { member } => json(&node.unban(&member)?).into(),
            Request::SetTime(request) => json(&node.set_time(now, &request)?).into(),
            Request::Takeover { server } => json(&self.take_over(node, now, at, server.as_deref())?).into(),
        })
    }

    /// Lets an active server hand over.
    fn take_over<N: ControlledNode>(
        &self,
        node: &mut N,
        now: Now,
        at: &ClockSnapshot,
        server: Option<&str>,
    ) -> Result<TakeoverResponse, CommandError> {
        let NodeStatus::Server(status) = self.node_status(node, now, at) else {
            return Err(CommandError::NotAServer);
        };
        let replica = status.replica.ok_or(TakeoverError::Alone)?;
        let wanted = takeover::wanted(&replica, server)?;
        let successor = place_of(node.resign(now, wanted).ok_or(TakeoverError::NoStandby)?);
        let listed = replica.others.into_iter().find(|other| other.rank == successor);
        let (name, address) = listed.map(|listed| (listed.name, listed.address)).unwrap_or_default();
        Ok(TakeoverResponse { successor, name, address, version: VERSION })
    }

    /// What the node states, with the names of the servers.
    fn node_status<N: ControlledNode>(&self, node: &N, now: Now, at: &ClockSnapshot) -> NodeStatus {
        let mut status = node.status(now, at);
        let Some(list) = &self.servers else { return status };
        let name_of = |place: u8| {
            let rank = place.checked_sub(1).and_then(Rank::new);
            rank.and_then(|rank| list.name_of(rank)).map(ToString::to_string).unwrap_or_default()
        };
        let listed = match &mut status {
            NodeStatus::Client(client) => &mut client.servers,
            NodeStatus::Server(server) => match (&mut server.replica, &mut server.upstream) {
                (Some(replica), _) => {
                    replica.name = name_of(replica.rank);
                    &mut replica.others
                }
                (None, Some(upstream)) => &mut upstream.servers,
                (None, None) => return status,
            },
        };
        listed.iter_mut().for_each(|server| server.name = name_of(server.rank));
        status
    }

    fn status<N: ControlledNode>(&self, node: &N, now: Now, at: &ClockSnapshot) -> ResponsePart {
        let status = Status {
            header: EventHeader::new("status", at.host, &at.reading),
            version: VERSION,
            newest_event: self.log.newest(),
            node: self.node_status(node, now, at),
        };
        match node.clients(now, 0, PAGE) {
            Some(page) => first_part(status, page),
            None => json(&status).into(),
        }
    }
}

/// The response of a server up to the end of the first page of clients.
fn first_part(status: Status, page: ClientPage) -> ResponsePart {
    let mut text = json(&StatusResponse { status, clients: page.rows });
    if page.next.is_some() {
        // The list is the last field: without its end, further clients can follow.
        text.truncate(text.len() - LIST_END.len());
    }
    ResponsePart { text, next: page.next }
}

/// The next clients of a list, and its end.
fn next_part(page: Option<ClientPage>) -> ResponsePart {
    let page = page.unwrap_or_default();
    let mut text: String = page.rows.iter().flat_map(|row| [",".to_owned(), json(row)]).collect();
    if page.next.is_none() {
        text.push_str(LIST_END);
    }
    ResponsePart { text, next: page.next }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("structures with names as keys can always be written as JSON")
}

/// What closes the list of clients and the object that it ends.
const LIST_END: &str = "]}";
/// Clients of a page: reading so many takes a millisecond or two.
const PAGE: usize = 256;

#[cfg(test)]
mod tests {
    use super::super::protocol::{ClientRow, examples};
    use super::*;

    fn page(names: &[&str], next: Option<usize>) -> ClientPage {
        ClientPage { rows: names.iter().map(|name| examples::row(name, 1)).collect(), next }
    }

    #[test]
    fn the_parts_of_a_list_make_one_object() {
        let begun = first_part(examples::server(), page(&["1", "2"], Some(2)));
        let parts = [
            begun,
            next_part(Some(page(&["3"], Some(3)))),
            next_part(Some(page(&[], Some(9)))),
            next_part(Some(page(&["4"], None))),
        ];
        assert_eq!(parts.clone().map(|part| part.next), [Some(2), Some(3), Some(9), None]);
        let whole: String = parts.into_iter().map(|part| part.text).collect();
        let head = json(&examples::server());
        let rows = ["1", "2", "3", "4"].map(|name| json(&examples::row(name, 1))).join(",");
        let begin = head.strip_suffix('}').unwrap();
        assert_eq!(whole, format!("{begin},\"clients\":[{rows}]}}"));
        let response: StatusResponse = serde_json::from_str(&whole).unwrap();
        assert_eq!(response.status, examples::server());
        let names: Vec<String> = response.clients.into_iter().map(|row: ClientRow| row.name).collect();
        assert_eq!(names, ["1", "2", "3", "4"]);
        let none = first_part(examples::server(), page(&[], None));
        assert_eq!(none.text, format!("{begin},\"clients\":[]}}"));
    }
}
