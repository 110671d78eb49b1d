//! Versions in a bucket: pulled over a network that breaks off, from a service that refuses, is slow to list, or says nonsense.
//! `.ci/bucket` asks a real server of the protocol; this one fails on cue.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::{fs, thread};

use switchback::Timestamp;
use switchback::repository::{
    BucketSource, Draft, Manifest, Pull, PullError, Repository, Source, SourceError,
};

use crate::common::{Folder, decoded};

const LARGE: usize = 300_000;

/// What the server does, beside answering.
#[derive(Default)]
struct Mood {
    /// The next answers have this status.
    refuse: Vec<u16>,
    /// Answers for the large file break off after so many bytes.
    cut: Option<usize>,
    /// Entries of a page of a listing; never an end with none.
    page: Option<usize>,
    /// Paths and ranges that were asked for.
    asked: Vec<(String, Option<String>)>,
}

/// A server that speaks as much of S3 as is asked of it, for a folder, one thread for each connection. It ends with the process.
struct Server {
    address: String,
    mood: Arc<Mutex<Mood>>,
}

impl Server {
    fn new(root: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let mood = Arc::new(Mutex::new(Mood::default()));
        let shared = Arc::clone(&mood);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (root, mood) = (root.clone(), Arc::clone(&shared));
                thread::spawn(move || answer(stream.unwrap(), &root, &mood));
            }
        });
        Self { address, mood }
    }

    fn bucket(&self, url: &str) -> BucketSource {
        let settings = [
            ("AWS_ENDPOINT_URL", self.address.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "who"),
            ("AWS_SECRET_ACCESS_KEY", "sesame-open"),
        ];
        BucketSource::with_settings(url, settings).unwrap()
    }

    fn mood(&self, change: impl FnOnce(&mut Mood)) {
        change(&mut self.mood.lock().unwrap());
    }

    fn ranges(&self, of: &str) -> Vec<Option<String>> {
        let mood = self.mood.lock().unwrap();
        mood.asked.iter().filter(|(path, _)| path.contains(of)).map(|(_, range)| range.clone()).collect()
    }
}

fn answer(stream: TcpStream, root: &std::path::Path, mood: &Mutex<Mood>) {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        head.push(line);
    }
    let Some(target) = head.first().and_then(|line| line.split(' ').nth(1)) else { return };
    let header = |name: &str| {
        let line = head.iter().find(|line| line.to_ascii_lowercase().starts_with(name));
        line.map(|line| line[name.len()..].trim().to_owned())
    };
    assert!(header("authorization:").unwrap().contains("Credential=who/"), "{head:?}");
    let range = header("range:");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = &*decoded(path);
    let (refused, cut, page) = {
        let mood = &mut *mood.lock().unwrap();
        mood.asked.push((path.to_owned(), range.clone()));
        let refused = if mood.refuse.is_empty() { None } else { Some(mood.refuse.remove(0)) };
        (refused, mood.cut.filter(|_| path.ends_with("weights.bin")), mood.page)
    };
    let mut stream = reader.into_inner();
    let mut say = |status: u16, more: &str, body: &[u8], sent: usize| {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n");
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..sent.min(length)]));
    };
    let file = root.join(path.trim_start_matches('/'));
    if let Some(status) = refused {
        return say(status, "", b"<Error><Code>Refused</Code></Error>", usize::MAX);
    }
    if query.contains("list-type=2") {
        if !file.is_dir() {
            return say(404, "", b"<Error><Code>NoSuchBucket</Code></Error>", usize::MAX);
        }
        let body = listed(&file, query, page);
        return say(200, "Content-Type: application/xml\r\n", body.as_bytes(), usize::MAX);
    }
    let Ok(bytes) = fs::read(&file) else {
        return say(404, "", b"<Error><Code>NoSuchKey</Code></Error>", usize::MAX);
    };
    let more = format!("ETag: \"{:x}\"\r\nLast-Modified: Mon, 12 Oct 2009 17:50:00 GMT\r\n", bytes.len());
    let sent = cut.unwrap_or(usize::MAX);
    let Some(range) = range else { return say(200, &more, &bytes, sent) };
    let from = range.trim_start_matches("bytes=").split_once('-').unwrap().0.parse::<usize>().unwrap();
    if from >= bytes.len() {
        return say(416, "", b"<Error><Code>InvalidRange</Code></Error>", usize::MAX);
    }
    let more = format!("{more}Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
    say(206, &more, &bytes[from..], sent);
}

fn listed(bucket: &std::path::Path, query: &str, page: Option<usize>) -> String {
    let value = |name: &str| {
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        decoded(value.unwrap_or_default())
    };
    let (prefix, token) = (value("prefix"), value("continuation-token"));
    let mut names: Vec<String> = fs::read_dir(bucket.join(&prefix))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.path().is_dir(), entry.file_name().into_string().unwrap()))
        .map(|(folder, name)| if folder { format!("{name}/") } else { name })
        .collect();
    names.sort();
    let from = token.parse::<usize>().unwrap_or(0);
    let end = page.map_or(names.len(), |page| names.len().min(from + page));
    let more = end < names.len() || page == Some(0);
    let entries: String = names[from..end]
        .iter()
        .map(|name| match name.ends_with('/') {
            true => format!("<CommonPrefixes><Prefix>{prefix}{name}</Prefix></CommonPrefixes>"),
            false => format!(
                "<Contents><Key>{prefix}{name}</Key><LastModified>2026-11-24T10:00:00.000Z</LastModified>\
                 <ETag>x</ETag><Size>1</Size></Contents>"
            ),
        })
        .collect();
    let token =
        if more { format!("<NextContinuationToken>{end}</NextContinuationToken>") } else { String::new() };
    format!("<ListBucketResult><IsTruncated>{more}</IsTruncated>{token}{entries}</ListBucketResult>")
}

/// A bucket `models` with versions 1 to 3 below `team/`, of which `stable` is 2, and a repository here.
fn places() -> (Folder, Server, Repository) {
    let folder = Folder::new();
    let models = Repository::create(folder.0.join("models/team")).unwrap();
    for version in ["1", "2", "3"] {
        let manifest = Manifest::new("late", version, Timestamp::from_unix_seconds(1_790_000_000));
        let weights: Vec<u8> =
            (0..LARGE as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
        let draft = Draft::new(manifest).file("model.onnx", "tests/models/affine.onnx");
        models.publish(draft.bytes("more/Größe 1.bin", *b"x").bytes("weights.bin", weights)).unwrap();
    }
    models.tag("late", "stable", "2").unwrap();
    let server = Server::new(folder.0.clone());
    let here = Repository::create(folder.0.join("here")).unwrap();
    (folder, server, here)
}

#[test]
fn a_version_is_pulled_from_a_bucket() {
    let (folder, server, here) = places();
    let late = folder.0.join("models/team/late");
    for (url, page) in
        [("s3://models/team", None), ("s3://models/team/", Some(1)), ("s3a://models/team", Some(2))]
    {
        server.mood(|mood| mood.page = page);
        let bucket = server.bucket(url);
        assert_eq!(bucket.folders("").unwrap(), ["late"]);
        let mut folders = bucket.folders("late").unwrap();
        folders.sort();
        assert_eq!(folders, ["1", "2", "3"]);
        for (asked, means) in [("stable", "2"), ("latest", "3"), ("1", "1")] {
            let pulled = here.pull(Pull::new(&bucket, "late", asked)).unwrap();
            assert_eq!(pulled.entry.version, means);
            assert_eq!(pulled.was_there, page.is_some());
            here.verify(&pulled.entry).unwrap();
        }
        let unknown = here.pull(Pull::new(&bucket, "late", "gold")).unwrap_err().to_string();
        assert!(unknown.ends_with("late has no version or tag `gold`; it has 1, 2, 3, stable"), "{unknown}");
    }
    for (file, bytes) in [("model.onnx", None), ("weights.bin", Some(LARGE)), ("more/Größe 1.bin", Some(1))]
    {
        let ours = fs::read(folder.0.join("here/late/2").join(file)).unwrap();
        assert_eq!(ours, fs::read(late.join("2").join(file)).unwrap());
        assert!(bytes.is_none_or(|bytes| ours.len() == bytes));
    }

    // A service that opens versions by their names brings what it has not got.
    #[cfg(feature = "onnx")]
    {
        use switchback::repository::contract::{Host, Pipelines};
        let cache = Repository::create(folder.0.join("cache")).unwrap();
        let served = cache.serve::<f32, f32>("late", Host::new(), Pipelines::new());
        let served = served.pulling_from(server.bucket("s3://models/team"));
        // Their manifests name no pipeline, and the service has none.
        let unfit = served.open("stable").map(drop).unwrap_err();
        assert!(matches!(unfit, switchback::repository::ServeError::Open(_)), "{unfit}");
        let entry = cache.get("late", "2").unwrap();
        cache.verify(&entry).unwrap();
    }
}

#[test]
fn what_breaks_off_is_gone_on_with_and_what_passes_is_asked_again() {
    let (folder, server, here) = places();
    let bucket = server.bucket("s3://models/team");
    server.mood(|mood| (mood.refuse, mood.cut) = (vec![503, 500], Some(LARGE / 3 + 1)));
    let pulled = here.pull(Pull::new(&bucket, "late", "1")).unwrap();
    here.verify(&pulled.entry).unwrap();
    // The client goes on by itself, with what is left.
    let from = |n: usize| Some(format!("bytes={}-{}", n * (LARGE / 3 + 1), LARGE - 1));
    assert_eq!(server.ranges("1/weights.bin"), [None, from(1), from(2)]);
    assert_eq!(
        server.ranges("1/manifest.json").len(),
        1 + 2 + 1,
        "twice refused; and the signature, which is not there"
    );

    // It breaks off for good: what has come is here, and the next pull asks for the rest alone.
    server.mood(|mood| mood.cut = Some(LARGE - 1_000));
    let told = |progress: &switchback::repository::Progress<'_>| {
        if progress.object.ends_with("weights.bin") {
            server.mood(|mood| mood.refuse = vec![403]);
        }
    };
    let error = here.pull(Pull::new(&bucket, "late", "2").on_progress(told)).unwrap_err();
    let PullError::Source(SourceError::Unreadable { object, .. }) = &error else { panic!("{error}") };
    assert_eq!(object, "s3://models/team/late/2/weights.bin");
    assert!(here.get("late", "2").is_err());
    server.mood(|mood| (mood.refuse, mood.cut) = (vec![], None));
    let pulled = here.pull(Pull::new(&bucket, "late", "2")).unwrap();
    here.verify(&pulled.entry).unwrap();
    assert_eq!(pulled.read, 1_000);
    assert_eq!(server.ranges("2/weights.bin").last().unwrap(), &Some(format!("bytes={}-", LARGE - 1_000)));

    // An object that is shorter by now has no bytes from there: it is read from its beginning, and told for what it is.
    server.mood(|mood| (mood.refuse, mood.cut) = (vec![], Some(LARGE - 1_000)));
    here.pull(Pull::new(&bucket, "late", "3").on_progress(told)).unwrap_err();
    server.mood(|mood| (mood.refuse, mood.cut) = (vec![], None));
    fs::write(folder.0.join("models/team/late/3/weights.bin"), vec![0; 500]).unwrap();
    let error = here.pull(Pull::new(&bucket, "late", "3")).unwrap_err();
    assert!(
        matches!(&error, PullError::Short { object, found: 500, .. } if object.starts_with("s3://")),
        "{error}"
    );
}

#[test]
fn what_a_bucket_refuses_is_told_with_the_object_and_without_secrets() {
    let (_folder, server, here) = places();
    let bucket = server.bucket("s3://models/team");
    server.mood(|mood| mood.refuse = vec![403]);
    let error = here.pull(Pull::new(&bucket, "late", "1")).unwrap_err();
    let PullError::Source(SourceError::Unreadable { object, cause }) = &error else { panic!("{error}") };
    assert_eq!(object, "s3://models/team/late/1/manifest.json");
    assert!(cause.to_string().contains("403"), "{cause}");
    let nowhere = server.bucket("s3://nowhere/team");
    let error = here.pull(Pull::new(&nowhere, "late", "1")).unwrap_err();
    let PullError::Source(SourceError::Unreadable { object, cause }) = &error else { panic!("{error}") };
    assert!(object == "s3://nowhere/team/late" && cause.to_string().contains("NoSuchBucket"), "{cause}");
    // A service that says of every page that there is one more.
    server.mood(|mood| mood.page = Some(0));
    let listed = bucket.folders("late").unwrap_err();
    assert!(matches!(&listed, SourceError::Unreadable { cause, .. } if cause.to_string().contains("pages")));
    for text in [format!("{bucket:?}"), format!("{error:?}"), format!("{listed:?}")] {
        assert!(!text.contains("sesame"), "{text}");
    }
}

#[test]
fn an_address_that_is_none_of_a_bucket_is_refused() {
    let none: [(&str, &str); 0] = [];
    for (url, sentence) in [
        ("models", "an address of a bucket is like s3://bucket/models"),
        ("s3://", "an address of a bucket is like s3://bucket/models"),
        ("file:///models", "an address of a bucket is like s3://bucket/models"),
        ("https://host/models", "it begins with none of s3://, gs://, az:// and abfss://"),
        ("s3://models/a?X-Amz-Signature=sesame", "it has more than an address in it"),
        ("az://who:sesame@models/a#sesame", "it has more than an address in it"),
        ("s3://who:sesame@models/a", "it has more than an address in it"),
    ] {
        let SourceError::Unreadable { object, cause } = BucketSource::with_settings(url, none).unwrap_err()
        else {
            panic!()
        };
        assert!(cause.to_string().contains(sentence), "{url}: {cause}");
        assert!(!object.contains("sesame"), "{object}");
    }
    for setting in ["AWS_REGIONS", "GOOGLE_BUCKET", "REGION", ""] {
        let refused = BucketSource::with_settings("s3://models", [(setting, "x")]).unwrap_err();
        let SourceError::Unreadable { cause, .. } = refused else { panic!() };
        assert_eq!(cause.to_string(), format!("{setting} is no setting of such a bucket"));
    }
    // Bug: `az` was started in a host where the environment asked for it. Cause: every variable of its kind was handed on. Fix: not
    // that one, and whoever gives it by hand is told.
    let refused = BucketSource::with_settings("az://models", [("AZURE_USE_AZURE_CLI", "true")]).unwrap_err();
    assert!(
        refused.to_string().contains("AZURE_USE_AZURE_CLI would start a process: give credentials"),
        "{refused}"
    );
    for url in ["gs://models/team", "az://models/team", "abfss://models@account.dfs.core.windows.net/team"] {
        let account =
            [("AZURE_STORAGE_ACCOUNT_NAME", "account")].into_iter().filter(|_| !url.starts_with("gs"));
        let bucket = BucketSource::with_settings(url, account).unwrap();
        assert_eq!(bucket.place("late/1"), format!("{url}/late/1"));
    }
}

/// A bucket's own thread waits for the network, so that asynchronous code which asks it is held up and does not panic.
#[test]
fn a_bucket_is_asked_and_dropped_within_asynchronous_code() {
    let (_folder, server, here) = places();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let bucket = server.bucket("s3://models/team");
        let pulled = here.pull(Pull::new(&bucket, "late", "stable")).unwrap();
        assert_eq!(pulled.entry.version, "2");
    });
}
