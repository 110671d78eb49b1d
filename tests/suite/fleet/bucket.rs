//! A store in a bucket whose server loses answers, refuses, is silent, or does not look at conditions. `.ci/bucket` asks a real
//! server of the protocol; this one fails on cue.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use switchback::fleet::{
    Bucket, Key, Over, Read, Store, StoreError, StoreOutcome, StoreSuite, Tag, UnfitStoreError, conformance,
};

use crate::common::decoded;

/// What the server does with a request, in the place of what it should.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cue {
    /// Does nothing, and answers with this status.
    Refuse(u16),
    /// Does it, and ends the connection.
    LoseAnswer,
    /// Does nothing, and says nothing until the client goes.
    Silent,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    /// Which put of all each object is of, as Google's count them.
    generations: BTreeMap<String, u64>,
    puts: u64,
    /// For the next requests, one each.
    cues: Vec<Cue>,
    /// Conditions that are not looked at, by the header's name.
    ignores: Option<&'static str>,
    /// Whether there is no bucket.
    gone: bool,
    /// Methods and paths that were asked for.
    asked: Vec<String>,
}

/// A server that speaks as much of S3 as is asked of it, one thread for each connection. It ends with the process.
struct Server {
    address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&shared);
                thread::spawn(move || answer(stream.unwrap(), &state));
            }
        });
        Self { address, state }
    }

    fn ignoring(header: &'static str) -> Self {
        let server = Self::new();
        server.with(|state| state.ignores = Some(header));
        server
    }

    fn store(&self) -> Bucket {
        store(&self.address)
    }

    fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        what(&mut self.state.lock().unwrap())
    }

    fn cue(&self, cues: &[Cue]) {
        self.with(|state| {
            state.cues = cues.to_vec();
            state.asked.clear();
        });
    }

    fn asked(&self, method: &str) -> usize {
        self.with(|state| state.asked.iter().filter(|asked| asked.starts_with(method)).count())
    }
}

fn store(address: &str) -> Bucket {
    let settings = [
        ("AWS_ENDPOINT_URL", address),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "who"),
        ("AWS_SECRET_ACCESS_KEY", "sesame-open"),
    ];
    Bucket::with_settings("s3://fleet/switchback", settings).unwrap()
}

fn answer(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        head.push(line);
    }
    let Some((method, target)) = head.first().and_then(|line| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    }) else {
        return;
    };
    let header = |name: &str| {
        let line = head.iter().find(|line| line.to_ascii_lowercase().starts_with(name));
        line.map(|line| line[name.len()..].trim().to_owned())
    };
    let length = header("content-length:").map_or(0, |length| length.parse::<usize>().unwrap());
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let path = decoded(path);
    let name = path.trim_start_matches("/fleet").trim_start_matches('/').to_owned();

    let cue = {
        let state = &mut *state.lock().unwrap();
        state.asked.push(format!("{method} {path}"));
        if state.cues.is_empty() { None } else { Some(state.cues.remove(0)) }
    };
    if cue == Some(Cue::Silent) {
        let _ = reader.read_to_end(&mut Vec::new());
        return;
    }
    let (status, more, body) = match cue {
        Some(Cue::Refuse(status)) => (status, String::new(), b"<Error><Code>Refused</Code></Error>".to_vec()),
        _ => {
            let state = &mut *state.lock().unwrap();
            let condition =
                |name: &str| if state.ignores == Some(name) { None } else { header(&format!("{name}:")) };
            let generation = condition("x-goog-if-generation-match");
            let conditions = (condition("if-match"), condition("if-none-match"), generation);
            let is_azures = header("x-ms-version:").is_some();
            match done(state, &method, &name, query, conditions, body) {
                // Azure's answer to a put over nothing where there is something.
                (412, more, _) if is_azures && method == "PUT" && header("if-none-match:").is_some() => {
                    (409, more, b"<Error><Code>BlobAlreadyExists</Code></Error>".to_vec())
                }
                told => told,
            }
        }
    };
    if cue == Some(Cue::LoseAnswer) {
        return;
    }
    let length = body.len();
    let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n");
    let mut stream = reader.into_inner();
    let body = if method == "HEAD" { &[][..] } else { &body };
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

fn etag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("\"{:x}\"", hasher.finish())
}

fn done(
    state: &mut State,
    method: &str,
    name: &str,
    query: &str,
    (matches, none_matches, generation): (Option<String>, Option<String>, Option<String>),
    body: Vec<u8>,
) -> (u16, String, Vec<u8>) {
    let failed =
        |status, code: &str| (status, String::new(), format!("<Error><Code>{code}</Code></Error>").into());
    let number = state.generations.get(name).copied().unwrap_or_default();
    let headers = |bytes: &[u8], number: u64| {
        let tag = etag(bytes);
        let at = "Mon, 12 Oct 2009 17:50:00 GMT";
        format!("ETag: {tag}\r\nLast-Modified: {at}\r\nx-goog-generation: {number}\r\n")
    };
    if state.gone {
        return failed(404, "NoSuchBucket");
    }
    if query.contains("list-type=2") {
        return (200, "Content-Type: application/xml\r\n".into(), listed(state, query).into_bytes());
    }
    if query.contains("comp=list") {
        return (200, "Content-Type: application/xml\r\n".into(), listed_by_azure(state, query).into_bytes());
    }
    let there = state.objects.get(name);
    match method {
        "PUT" => {
            if let Some(tag) = matches {
                match there {
                    None => return failed(404, "NoSuchKey"),
                    Some(there) if etag(there) != tag => return failed(412, "PreconditionFailed"),
                    Some(_) => {}
                }
            }
            if none_matches.is_some() && there.is_some() {
                return failed(412, "PreconditionFailed");
            }
            if generation.is_some_and(|generation| generation != number.to_string()) {
                return failed(412, "PreconditionFailed");
            }
            state.puts += 1;
            let told = (200, headers(&body, state.puts), Vec::new());
            state.generations.insert(name.to_owned(), state.puts);
            state.objects.insert(name.to_owned(), body);
            told
        }
        // Several may be deleted at once.
        "POST" if query.contains("delete") => {
            let text = String::from_utf8(body).unwrap();
            let name = text.split_once("<Key>").unwrap().1.split_once("</Key>").unwrap().0;
            state.objects.remove(name);
            state.generations.remove(name);
            let told = format!("<DeleteResult><Deleted><Key>{name}</Key></Deleted></DeleteResult>");
            (200, "Content-Type: application/xml\r\n".into(), told.into_bytes())
        }
        "DELETE" => {
            state.objects.remove(name);
            state.generations.remove(name);
            (204, String::new(), Vec::new())
        }
        _ => match there {
            None => failed(404, "NoSuchKey"),
            Some(bytes) if none_matches.as_ref() == Some(&etag(bytes)) => {
                (304, headers(bytes, number), Vec::new())
            }
            Some(bytes) => (200, headers(bytes, number), bytes.clone()),
        },
    }
}

/// Two entries of a page, so that whoever lists asks again.
fn listed(state: &State, query: &str) -> String {
    let value = |name: &str| {
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        decoded(value.unwrap_or_default())
    };
    let (prefix, after) = (value("prefix"), value("start-after").max(value("continuation-token")));
    let below = || state.objects.iter().filter(|(name, _)| name.starts_with(&prefix) && **name > after);
    let mut text = String::from("<ListBucketResult>");
    for (name, bytes) in below().take(2) {
        text += &format!(
            "<Contents><Key>{name}</Key><Size>{}</Size><LastModified>2009-10-12T17:50:00.123Z</LastModified><ETag>{}</ETag></Contents>",
            bytes.len(),
            etag(bytes).replace('"', "&quot;")
        );
    }
    if below().count() > 2 {
        let token = below().nth(1).unwrap().0;
        text += &format!("<NextContinuationToken>{token}</NextContinuationToken>");
    }
    text + "</ListBucketResult>"
}

/// The same as Azure has it: an ETag without its quotes, from a name on and not after it, and a marker that names the next one.
fn listed_by_azure(state: &State, query: &str) -> String {
    let value = |name: &str| {
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        decoded(value.unwrap_or_default())
    };
    let (prefix, from) = (value("prefix"), value("startFrom").max(value("marker")));
    let below = || state.objects.iter().filter(|(name, _)| name.starts_with(&prefix) && **name >= from);
    let mut text = String::from("<EnumerationResults><Blobs>");
    for (name, bytes) in below().take(3) {
        text += &format!(
            "<Blob><Name>{name}</Name><Properties><Last-Modified>Mon, 12 Oct 2009 17:50:00 GMT</Last-Modified><Etag>{}</Etag>\
             <Content-Length>{}</Content-Length><Content-Type>application/octet-stream</Content-Type></Properties></Blob>",
            etag(bytes).trim_matches('"'),
            bytes.len(),
        );
    }
    let marker = below().nth(3).map_or(String::new(), |(name, _)| format!("<NextMarker>{name}</NextMarker>"));
    format!("{text}</Blobs>{marker}</EnumerationResults>")
}

fn head() -> Key {
    Key::new("h/late/head").unwrap()
}

fn bytes(store: &Bucket) -> Option<Vec<u8>> {
    match store.get(&head(), None).unwrap() {
        Read::Value { bytes, .. } => Some(bytes),
        _ => None,
    }
}

/// A store whose server has told that it is fit, with a value in it.
fn begun() -> (Server, Bucket, Tag) {
    let server = Server::new();
    let store = server.store();
    let tag = store.put(&head(), b"one", Over::Nothing).unwrap();
    (server, store, tag)
}

#[test]
fn a_bucket_holds_to_what_a_store_must() {
    let server = Server::new();
    let store = server.store();
    store.probe().unwrap();
    store.probe().unwrap();
    assert_eq!(server.with(|state| state.asked.len()), 19, "asked once");
    conformance(&store, &Key::new("conformance").unwrap()).unwrap();
    let names = server.with(|state| state.objects.keys().cloned().collect::<Vec<_>>());
    assert!(names.iter().all(|name| name.starts_with("switchback/conformance/")), "{names:?}");
}

/// Google's conditions are numbers, and not tags.
#[test]
fn a_bucket_of_googles_holds_to_what_a_store_must() {
    let server = Server::new();
    conformance(&googles(&server), &Key::new("conformance").unwrap()).unwrap();
    assert!(server.asked("HEAD") > 0);
    let server = Server::ignoring("x-goog-if-generation-match");
    assert!(matches!(googles(&server).put(&head(), b"one", Over::Nothing), Err(StoreError::Unfit { .. })));
}

fn googles(server: &Server) -> Bucket {
    let settings = [
        ("GOOGLE_BASE_URL", server.address.as_str()),
        ("GOOGLE_ALLOW_HTTP", "true"),
        ("GOOGLE_BEARER_TOKEN", "sesame"),
    ];
    Bucket::with_settings("gs://fleet/switchback", settings).unwrap()
}

/// Bug: in Azure's buckets whoever judges read every row at every look, and no sweep removed anything. Cause: its listings give ETags without quotes,
/// so that the tag of a listing was never that of a read. Fix: the quotes are put around it, and the probe compares a listing with a read.
#[test]
fn a_bucket_of_azures_holds_to_what_a_store_must() {
    let server = Server::new();
    let settings = [
        ("AZURE_STORAGE_ENDPOINT", server.address.as_str()),
        ("AZURE_ALLOW_HTTP", "true"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "late"),
        ("AZURE_SKIP_SIGNATURE", "true"),
    ];
    let store = Bucket::with_settings("az://fleet/switchback", settings).unwrap();
    store.probe().unwrap();
    conformance(&store, &Key::new("conformance").unwrap()).unwrap();
    let tag = store.put(&head(), b"one", Over::Nothing).unwrap();
    let page = store.list(&Key::new("h").unwrap(), None).unwrap();
    assert_eq!((&page.entries[0].tag, page.entries.len()), (&tag, 1));
    // What was listed can be removed.
    store.remove(&head(), &page.entries[0].tag).unwrap();
}

/// A bug of any client that repeats what was not answered: the second try of a put finds the first, and is told of a conflict that
/// is with itself. The client of this store did so until its retries were switched off.
#[test]
fn a_put_whose_answer_was_lost_is_unknown_and_is_sent_once() {
    let (server, store, one) = begun();
    server.cue(&[Cue::LoseAnswer]);
    let told = store.put(&head(), b"two", Over::This(&one)).unwrap_err();
    assert_eq!(told.outcome(), StoreOutcome::Unknown, "{told}");
    assert_eq!(server.asked("PUT"), 1);
    assert_eq!(bytes(&store), Some(b"two".to_vec()));

    let other = head().join("other").unwrap();
    server.cue(&[Cue::LoseAnswer]);
    let told = store.put(&other, b"1", Over::Nothing).unwrap_err();
    assert_eq!(told.outcome(), StoreOutcome::Unknown, "{told}");
    assert_eq!(server.asked("PUT"), 1);
}

#[test]
fn a_status_of_409_is_a_conflict_only_where_something_else_is_there() {
    let (server, store, one) = begun();
    let other = head().join("other").unwrap();
    server.cue(&[Cue::Refuse(409)]);
    let told = store.put(&head(), b"two", Over::This(&one)).unwrap_err();
    assert!(
        matches!(told, StoreError::Unreachable { .. }),
        "nothing was done, and nothing else is there: {told}"
    );
    server.cue(&[Cue::Refuse(409)]);
    let told = store.put(&other, b"1", Over::Nothing).unwrap_err();
    assert!(matches!(told, StoreError::Unreachable { .. }), "{told}");
    assert_eq!(bytes(&store), Some(b"one".to_vec()));

    let two = store.put(&head(), b"two", Over::This(&one)).unwrap();
    server.cue(&[Cue::Refuse(409)]);
    assert!(matches!(store.put(&head(), b"three", Over::This(&one)), Err(StoreError::Conflict)));
    server.cue(&[Cue::Refuse(409)]);
    assert!(matches!(store.put(&head(), b"three", Over::Nothing), Err(StoreError::Conflict)));
    // What was removed is an empty object, over which nothing is put as over nothing.
    store.remove(&head(), &two).unwrap();
    assert_eq!(bytes(&store), None);
    assert!(matches!(store.put(&head(), b"three", Over::This(&two)), Err(StoreError::Conflict)));
    store.put(&head(), b"three", Over::Nothing).unwrap();
    assert_eq!(bytes(&store), Some(b"three".to_vec()));
}

#[test]
fn what_a_server_says_is_told_apart() {
    let (server, store, one) = begun();
    for (status, expected) in [
        (400, "refuses"),
        (401, "refuses"),
        (403, "refuses"),
        (301, "refuses"),
        (501, "refuses"),
        (429, "cannot be reached"),
        (408, "not known"),
        (500, "not known"),
        (503, "not known"),
    ] {
        server.cue(&[Cue::Refuse(status)]);
        let told = store.put(&head(), b"two", Over::This(&one)).unwrap_err();
        assert!(told.to_string().contains(expected), "{status}: {told}");
        assert_eq!(server.asked("PUT"), 1, "{status}");
        // Of a read nothing was done in any case.
        server.cue(&[Cue::Refuse(status)]);
        let told = store.get(&head(), Some(&one)).unwrap_err();
        assert_eq!(told.outcome(), StoreOutcome::NotDone, "{status}: {told}");
    }
    assert_eq!(store.get(&head(), Some(&one)).unwrap(), Read::Same);
    // A bucket that is gone is not one that is empty.
    server.with(|state| state.gone = true);
    for told in [
        store.get(&head(), None).map(drop),
        store.put(&head(), b"two", Over::Nothing).map(drop),
        store.put(&head(), b"two", Over::This(&one)).map(drop),
        store.list(&Key::new("h").unwrap(), None).map(drop),
    ] {
        assert!(matches!(told, Err(StoreError::Refused { .. })), "{told:?}");
    }
}

#[test]
fn a_server_that_does_not_look_at_conditions_is_refused_before_anything_is_put() {
    for header in ["if-match", "if-none-match"] {
        let server = Server::ignoring(header);
        let store = server.store();
        for _ in 0..2 {
            let told = store.put(&head(), b"one", Over::Nothing).unwrap_err();
            assert!(
                matches!(&told, StoreError::Unfit { found: UnfitStoreError::Answer { .. } }),
                "{header}: {told}"
            );
            assert!(told.to_string().contains("not fit for a fleet"), "{told}");
            // Bug: what was read was printed, a number for each of its bytes.
            assert!(told.to_string().len() < 400, "{told}");
        }
        let tag = Tag::new("\"0\"");
        assert!(matches!(store.remove(&head(), &tag), Err(StoreError::Unfit { .. })), "{header}");
        server.with(|state| assert!(state.objects.is_empty(), "{:?}", state.objects.keys()));
    }
}

#[test]
fn a_server_that_is_silent_is_waited_for_no_longer_than_was_said() {
    let (server, store, one) = begun();
    let store = store.timeout(Duration::from_millis(50));
    server.cue(&[Cue::Silent, Cue::Silent, Cue::Silent]);
    let told = store.put(&head(), b"two", Over::This(&one)).unwrap_err();
    assert_eq!(told.outcome(), StoreOutcome::Unknown, "{told}");
    assert!(matches!(store.get(&head(), None), Err(StoreError::Unreachable { .. })));
    assert!(matches!(store.list(&head(), None), Err(StoreError::Unreachable { .. })));
}

#[test]
fn a_bucket_that_is_away_at_first_is_not_unfit() {
    let server = Server::new();
    let store = server.store();
    server.cue(&[Cue::Refuse(503)]);
    let told = store.put(&head(), b"one", Over::Nothing).unwrap_err();
    assert_eq!(told.outcome(), StoreOutcome::NotDone, "{told}");
    store.put(&head(), b"one", Over::Nothing).unwrap();
    // Nobody listens: nothing was sent, and that is known.
    let nowhere = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        self::store(&format!("http://{}", listener.local_addr().unwrap()))
    };
    let told = nowhere.put(&head(), b"one", Over::Nothing).unwrap_err();
    assert!(matches!(told, StoreError::Unreachable { .. }), "{told}");
}

#[test]
fn it_can_be_asked_from_within_a_runtime_of_the_hosts() {
    let server = Server::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = server.store();
        let tag = store.put(&head(), b"one", Over::Nothing).unwrap();
        assert_eq!(store.get(&head(), Some(&tag)).unwrap(), Read::Same);
        drop(store);
    });
}

#[test]
fn an_address_that_is_none_and_a_setting_that_is_unknown_are_refused() {
    for url in
        ["", "fleet", "s3://", "http://fleet", "s3://key:sesame:x@fleet/switchback", "s3://fleet?sesame=x"]
    {
        let told = Bucket::from_url(url).unwrap_err();
        assert!(matches!(told, StoreError::Refused { .. }), "{url}: {told}");
        assert!(!told.to_string().contains("sesame"), "{told}");
    }
    let told = Bucket::with_settings("s3://fleet", [("AWS_SESAME", "1")]).unwrap_err();
    assert!(told.to_string().contains("AWS_SESAME"), "{told}");
}

/// `.ci/bucket` names the server.
#[test]
#[ignore = "needs a server: .ci/bucket starts one"]
fn a_real_server_is_one_register() {
    let url = std::env::var("SWITCHBACK_TEST_BUCKET").unwrap();
    let store = Bucket::from_url(&url).unwrap().timeout(Duration::from_secs(60));
    store.probe().unwrap();
    StoreSuite::new().clients(16).rounds(20).check(&store, &Key::new("conformance").unwrap()).unwrap();
}
