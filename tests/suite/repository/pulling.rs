//! Versions from elsewhere: pulled whole, held against their manifests, gone on with after an interruption, and nothing
//! believed that a source says.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use switchback::Timestamp;
use switchback::repository::{
    Draft, FolderSource, Manifest, Progress, Pull, PullError, Repository, RepositoryError, Source,
    SourceError,
};
use switchback::testing::Faults;

use crate::common::Folder;

const MODEL: &str = "tests/models/affine.onnx";
/// Some chunks of 64 KiB, and a bit.
const LARGE: usize = 200_000;

fn weights(seed: u32) -> Vec<u8> {
    (0..LARGE as u32).map(|n| (n.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect()
}

fn manifest(version: &str, seconds: u64) -> Manifest {
    Manifest::new("late", version, Timestamp::from_unix_seconds(1_790_000_000 + seconds))
}

/// A repository elsewhere with a version `1` of two large files and a small one, and one here that is empty.
fn places() -> (Folder, Repository, Repository) {
    let folder = Folder::new();
    let elsewhere = Repository::create(folder.0.join("elsewhere")).unwrap();
    publish(&elsewhere, "1", 0);
    let here = Repository::create(folder.0.join("here")).unwrap();
    (folder, elsewhere, here)
}

fn publish(to: &Repository, version: &str, seconds: u64) {
    let draft = Draft::new(manifest(version, seconds))
        .file("model.onnx", MODEL)
        .bytes("weights/a.bin", weights(1))
        .bytes("weights/b.bin", weights(2));
    to.publish(draft).unwrap();
}

fn source(folder: &Folder) -> FolderSource {
    FolderSource::open(folder.0.join("elsewhere")).unwrap()
}

/// Every file below a folder by its path, with its bytes, and the folders.
fn listing(root: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let (mut all, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let bytes = if path.is_dir() { None } else { Some(fs::read(&path).unwrap()) };
            if bytes.is_none() {
                folders.push(path.clone());
            }
            all.push((path.strip_prefix(root).unwrap().to_owned(), bytes));
        }
    }
    all.sort();
    all
}

fn asides(folder: &Folder) -> usize {
    let all = fs::read_dir(folder.0.join("here/late")).into_iter().flatten();
    all.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".aside-")).count()
}

fn names(models: &Repository) -> Vec<String> {
    models.versions("late").unwrap().iter().map(|entry| entry.version.to_string()).collect()
}

/// A source that counts what it is asked for, and goes away on cue.
struct Flaky {
    inner: FolderSource,
    asked: RefCell<Vec<(String, u64)>>,
    /// Bytes of files, manifests apart, that are still given.
    left: Cell<usize>,
}

impl Flaky {
    fn new(folder: &Folder, left: usize) -> Self {
        Self { inner: source(folder), asked: RefCell::default(), left: Cell::new(left) }
    }

    /// What was read beside manifests and tags, and from where.
    fn files(&self) -> Vec<(String, u64)> {
        let asked = self.asked.borrow();
        asked.iter().filter(|(path, _)| !path.contains(".json")).cloned().collect()
    }
}

impl Source for Flaky {
    fn folders(&self, folder: &str) -> Result<Vec<String>, SourceError> {
        self.inner.folders(folder)
    }

    fn read<'s>(&'s self, object: &str, from: u64) -> Result<Box<dyn Read + 's>, SourceError> {
        self.asked.borrow_mut().push((object.to_owned(), from));
        let inner = self.inner.read(object, from)?;
        if object.contains(".json") { Ok(inner) } else { Ok(Box::new(Cut { inner, left: &self.left })) }
    }

    fn place(&self, path: &str) -> String {
        format!("flaky://{path}")
    }
}

struct Cut<'s> {
    inner: Box<dyn Read + 's>,
    left: &'s Cell<usize>,
}

impl Read for Cut<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "the line went dead"));
        }
        // Small and uneven pieces, and a signal now and then, as over a network.
        if left.is_multiple_of(5) {
            self.left.set(left - 1);
            return Err(io::ErrorKind::Interrupted.into());
        }
        let room = buffer.len().min(left).min(7_001);
        let read = self.inner.read(&mut buffer[..room])?;
        self.left.set(left - read);
        Ok(read)
    }
}

#[test]
fn a_version_is_pulled_as_it_is_and_a_second_time_it_is_there() {
    let (folder, elsewhere, here) = places();
    fs::write(folder.0.join("elsewhere/late/1/manifest.json.minisig"), "a signature").unwrap();
    let theirs = listing(&folder.0.join("elsewhere/late/1"));
    // What nobody has listed does not come along.
    fs::write(folder.0.join("elsewhere/late/1/stray.bin"), "x").unwrap();
    elsewhere.tag("late", "stable", "1").unwrap();

    let from = Flaky::new(&folder, usize::MAX);
    let mut seen: Vec<(String, u64, u64)> = Vec::new();
    let told = |progress: &Progress<'_>| {
        seen.push((progress.object.to_owned(), progress.done, progress.total));
        // Whoever sweeps meanwhile leaves it alone, and nobody sees any of it.
        if seen.len() == 20 {
            assert_eq!(here.sweep().unwrap().asides, 0);
            assert!(names(&here).is_empty());
        }
    };
    let pulled = here.pull(Pull::new(&from, "late", "stable").tag("blue").on_progress(told)).unwrap();
    let total = 2 * LARGE as u64 + fs::metadata(MODEL).unwrap().len();
    assert_eq!((pulled.was_there, pulled.read, pulled.resumed), (false, total, 0));
    assert!(seen.len() > 20 && seen.is_sorted_by_key(|(_, done, _)| *done), "{seen:?}");
    assert_eq!(seen.last().unwrap(), &("late/1/weights/b.bin".to_owned(), total, total));
    assert_eq!(listing(&folder.0.join("here/late/1")), theirs);
    here.verify(&pulled.entry).unwrap();
    assert_eq!(here.get("late", "1").unwrap(), pulled.entry);
    // Tags of the source's do not come, and the one that was asked for points at it.
    assert_eq!(here.tags("late").unwrap(), [("blue".to_owned(), "1".to_owned())].into());

    let before = listing(&folder.0.join("here"));
    let again = Flaky::new(&folder, 0);
    let pulled = here.pull(Pull::new(&again, "late", "1").tag("blue")).unwrap();
    assert_eq!((pulled.was_there, pulled.read, again.files()), (true, 0, vec![]));
    assert_eq!(listing(&folder.0.join("here")), before);
    assert_eq!(asides(&folder), 0);
}

#[test]
fn a_name_means_at_a_source_what_it_means_in_the_repository() {
    for versions in [
        &["1", "2", "10"][..],
        &["v9", "v10", "3"],
        &["b", "a", "c"],
        &["2026-11-01", "2026-10-01"],
        &["0007", "7", "x"],
    ] {
        let folder = Folder::new();
        let elsewhere = Repository::create(folder.0.join("elsewhere")).unwrap();
        for (age, version) in versions.iter().enumerate() {
            let draft = Draft::new(manifest(version, age as u64)).file("model.onnx", MODEL);
            elsewhere.publish(draft).unwrap();
        }
        elsewhere.tag("late", "stable", versions[0]).unwrap();
        // Not finished yet, or not at all.
        fs::create_dir_all(folder.0.join("elsewhere/late/99")).unwrap();
        fs::create_dir_all(folder.0.join("elsewhere/late/98")).unwrap();
        fs::write(folder.0.join("elsewhere/late/98/manifest.json"), "{").unwrap();
        let here = Repository::create(folder.0.join("here")).unwrap();
        for asked in ["stable", "latest", versions[1]] {
            let pulled = here.pull(Pull::new(&source(&folder), "late", asked)).unwrap();
            assert_eq!(pulled.entry.version, elsewhere.resolve("late", asked).unwrap().version, "{asked}");
        }
        let unknown = here.pull(Pull::new(&source(&folder), "late", "gold")).unwrap_err();
        let PullError::Unknown { asked, there, .. } = &unknown else { panic!("{unknown}") };
        assert_eq!(asked, "gold");
        assert!(
            versions.iter().chain(&["stable"]).all(|name| there.iter().any(|one| one == name)),
            "{unknown}"
        );
        let none = here.pull(Pull::new(&source(&folder), "late", "99")).unwrap_err();
        assert!(none.to_string().contains("late/99/manifest.json is not there"), "{none}");
        let torn = here.pull(Pull::new(&source(&folder), "late", "98")).unwrap_err();
        assert!(
            matches!(&torn, PullError::Unusable { object, .. } if object.ends_with("late/98/manifest.json"))
        );
        let nobody = here.pull(Pull::new(&source(&folder), "early", "latest")).unwrap_err();
        assert!(matches!(nobody, PullError::Unknown { .. }), "{nobody}");
    }
}

/// Bug: of a folder of versions that no manifest stands beside, as model servers have them, it was said that there is no `latest`,
/// and in the same breath which versions there are. Cause: what has no manifest is passed over, and was told as not there. Fix:
/// where none has one that can be used, the newest is told, with what is wrong with it.
#[test]
fn where_no_version_has_a_manifest_the_latest_says_so() {
    let (folder, here) = (Folder::new(), Folder::new());
    let here = Repository::create(&here.0).unwrap();
    for version in ["1", "2", "10"] {
        let path = folder.0.join("elsewhere/late").join(version);
        fs::create_dir_all(&path).unwrap();
        fs::copy(MODEL, path.join("model.onnx")).unwrap();
    }
    let pulled = || here.pull(Pull::new(&source(&folder), "late", "latest"));
    let none = pulled().unwrap_err();
    assert!(
        matches!(&none, PullError::NoManifest { object } if object.ends_with("late/10/manifest.json")),
        "{none}"
    );
    fs::write(folder.0.join("elsewhere/late/10/manifest.json"), "{").unwrap();
    let torn = pulled().unwrap_err();
    assert!(
        matches!(&torn, PullError::Unusable { object, .. } if object.ends_with("late/10/manifest.json")),
        "{torn}"
    );
}

#[test]
fn what_is_not_as_its_manifest_says_leaves_nothing() {
    type Spoil = fn(&Path);
    let spoils: [(Spoil, &str); 6] = [
        (|file| fs::write(file, &weights(2)[..LARGE / 2]).unwrap(), "b.bin has 100000 bytes, not 200000"),
        (|file| fs::write(file, []).unwrap(), "b.bin has 0 bytes, not 200000"),
        (
            |file| fs::write(file, [weights(2), vec![0]].concat()).unwrap(),
            "b.bin goes on after the 200000 bytes",
        ),
        (|file| fs::write(file, weights(3)).unwrap(), "b.bin has other bytes than were published"),
        (|file| fs::remove_file(file).unwrap(), "there is no "),
        (
            |file| {
                fs::remove_file(file).unwrap();
                fs::create_dir(file).unwrap();
            },
            "b.bin could not be read",
        ),
    ];
    for (spoil, sentence) in spoils {
        let (folder, _, here) = places();
        spoil(&folder.0.join("elsewhere/late/1/weights/b.bin"));
        let error = here.pull(Pull::new(&source(&folder), "late", "1").tag("stable")).unwrap_err();
        let whole = format!("{error}");
        assert!(whole.contains(sentence) && whole.contains("weights/b.bin"), "{whole}");
        assert!(names(&here).is_empty() && here.tags("late").unwrap_or_default().is_empty());
        // What a source does not give is waited for with what has come; what it gives and is wrong is not kept.
        assert_eq!(asides(&folder), usize::from(matches!(error, PullError::Source(_))), "{error}");
        here.sweep().unwrap();
        let left = listing(&folder.0.join("here"));
        assert!(left.iter().all(|(path, _)| path == Path::new("late")), "{left:?}");
        // It is put right, and comes.
        let file = folder.0.join("elsewhere/late/1/weights/b.bin");
        let _ = fs::remove_dir(&file);
        fs::write(&file, weights(2)).unwrap();
        let pulled = here.pull(Pull::new(&source(&folder), "late", "1")).unwrap();
        here.verify(&pulled.entry).unwrap();
    }
}

/// A source of a few objects that are what a test likes, and says that it has folders of any name.
#[derive(Default)]
struct Hostile {
    objects: Vec<(&'static str, Vec<u8>)>,
    folders: Vec<String>,
    endless: Option<&'static str>,
    lies: bool,
}

impl Source for Hostile {
    fn folders(&self, _: &str) -> Result<Vec<String>, SourceError> {
        Ok(self.folders.clone())
    }

    fn read<'s>(&'s self, object: &str, from: u64) -> Result<Box<dyn Read + 's>, SourceError> {
        if self.lies {
            return Ok(Box::new(Liar));
        }
        if self.endless == Some(object) {
            return Ok(Box::new(io::repeat(b' ')));
        }
        match self.objects.iter().find(|(name, _)| *name == object) {
            Some((_, bytes)) => Ok(Box::new(&bytes[from as usize..])),
            None => Err(SourceError::Missing { object: object.to_owned() }),
        }
    }

    fn place(&self, path: &str) -> String {
        path.to_owned()
    }
}

/// Says that it gave more than there was room for.
struct Liar;

impl Read for Liar {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(buffer.len() + 1)
    }
}

fn listed(path: &str, size: u64) -> Vec<u8> {
    let digest = "0".repeat(64);
    let path = serde_json::to_string(path).unwrap();
    format!(
        r#"{{"schema": 1, "name": "late", "version": "1", "created": "2026-11-24T10:00:00Z", "model": {path},
            "files": [{{"path": {path}, "size": {size}, "sha256": "{digest}"}}]}}"#
    )
    .into_bytes()
}

#[test]
fn nothing_that_a_source_says_leads_out_of_the_repository() {
    let folder = Folder::new();
    let here = Repository::create(folder.0.join("here")).unwrap();
    let all = || listing(&folder.0);
    let pull = |source: &Hostile, asked: &str| here.pull(Pull::new(source, "late", asked)).unwrap_err();
    for path in [
        "../model.onnx",
        "/etc/passwd",
        "a/../../model.onnx",
        "a//b",
        "./model.onnx",
        "C:\\x",
        "a\\..\\b",
        ".tags.json",
        "manifest.json",
        "MANIFEST.JSON",
        "a/.aside-x",
        "con",
        "",
        "a\u{0}b",
        &"x/".repeat(200),
    ] {
        let hostile =
            Hostile { objects: vec![("late/1/manifest.json", listed(path, 1))], ..Hostile::default() };
        let error = pull(&hostile, "1");
        assert!(
            matches!(&error, PullError::Unusable { object, .. } if object == "late/1/manifest.json"),
            "{error}"
        );
        assert_eq!(all().len(), 1, "{path:?}");
    }
    // A manifest of another version, and one of another model.
    for (field, other) in [("\"late\"", "\"early\""), ("\"version\": \"1\"", "\"version\": \"2\"")] {
        let text = String::from_utf8(listed("model.onnx", 1)).unwrap().replace(field, other);
        let hostile =
            Hostile { objects: vec![("late/1/manifest.json", text.into_bytes())], ..Hostile::default() };
        assert!(pull(&hostile, "1").to_string().contains("lies where late 1 belongs"));
    }
    // Tags that lead elsewhere, or are none.
    for tags in
        [r#"{"stable": "../../x"}"#, r#"{"stable": "/etc"}"#, r#"{"stable": ""}"#, r#"{"stable": 7}"#, "["]
    {
        let hostile = Hostile { objects: vec![("late/.tags.json", tags.into())], ..Hostile::default() };
        let error = pull(&hostile, "stable");
        assert!(
            matches!(error, PullError::Repository(RepositoryError::Name { .. }) | PullError::Unusable { .. }),
            "{error}"
        );
    }
    // Folders by names that are none, which nobody asks it for.
    let folders = ["..", "/etc", "a/b", ".data", "", "99999999999999999999", "x\u{1b}[2J"].map(String::from);
    let hostile = Hostile { folders: folders.into(), ..Hostile::default() };
    let PullError::Unknown { there, .. } = pull(&hostile, "gold") else { panic!() };
    assert_eq!(there, ["99999999999999999999"]);
    // And what is asked for may be hostile too.
    for asked in ["../late", "", ".tags.json", "a/b", &"9".repeat(99)] {
        assert!(
            matches!(pull(&hostile, asked), PullError::Repository(RepositoryError::Name { .. })),
            "{asked}"
        );
    }
    for model in ["..", "a/b", ""] {
        assert!(here.pull(Pull::new(&hostile, model, "1")).is_err(), "{model}");
    }
    assert_eq!(all().len(), 1, "{:?}", all());
    let climbing = FolderSource::open(&folder.0).unwrap();
    for path in ["../x", "/etc/passwd", "a/../b", "a\0b"] {
        assert!(climbing.read(path, 0).is_err() && climbing.folders(path).is_err(), "{path:?}");
    }
}

#[test]
fn no_more_is_taken_than_was_said_and_allowed() {
    let folder = Folder::new();
    let here = Repository::create(folder.0.join("here")).unwrap();
    let pull = |source: &Hostile, asked: &str| here.pull(Pull::new(source, "late", asked)).unwrap_err();
    let with = |endless| Hostile {
        objects: vec![("late/1/manifest.json", listed("model.onnx", 300_000))],
        endless: Some(endless),
        ..Hostile::default()
    };
    let model = pull(&with("late/1/model.onnx"), "1");
    assert_eq!(model.to_string(), "late/1/model.onnx goes on after the 300000 bytes that its manifest says");
    for (object, max) in [
        ("late/1/manifest.json", "4194304"),
        ("late/1/manifest.json.minisig", "4096"),
        ("late/.tags.json", "1048576"),
    ] {
        let asked = if object.contains("tags") { "stable" } else { "1" };
        let said = pull(&with(object), asked).to_string();
        assert_eq!(said, format!("{object} cannot be used: it has more than {max} bytes"));
    }
    assert!(matches!(pull(&Hostile { lies: true, ..Hostile::default() }, "1"), PullError::Source(_)));
    // Sizes that overflow are large.
    for size in [(64 << 30) + 1, u64::MAX] {
        let hostile = Hostile {
            objects: vec![("late/1/manifest.json", listed("model.onnx", size))],
            ..Hostile::default()
        };
        let error = pull(&hostile, "1");
        assert!(matches!(error, PullError::TooLarge { bytes, .. } if bytes == size), "{error}");
    }
    assert_eq!(asides(&folder), 0);
    let (folder, _, here) = places();
    let total = 2 * LARGE as u64 + fs::metadata(MODEL).unwrap().len();
    let refused = here.pull(Pull::new(&source(&folder), "late", "1").max_bytes(total - 1)).unwrap_err();
    assert!(matches!(refused, PullError::TooLarge { bytes, max, .. } if (bytes, max) == (total, total - 1)));
    here.pull(Pull::new(&source(&folder), "late", "1").max_bytes(total)).unwrap();
}

#[test]
fn an_interrupted_pull_goes_on_where_it_was() {
    let (folder, elsewhere, here) = places();
    let total = 2 * LARGE as u64 + fs::metadata(MODEL).unwrap().len();
    let (mut pulls, mut read, mut last) = (0, 0, 0);
    let pulled = loop {
        let flaky = Flaky::new(&folder, 90_001);
        pulls += 1;
        let mut done = 0;
        let told = |progress: &Progress<'_>| done = progress.done;
        match here.pull(Pull::new(&flaky, "late", "1").on_progress(told)) {
            Ok(pulled) => break pulled,
            Err(PullError::Source(SourceError::Unreadable { object, .. })) => {
                assert!(object.starts_with("flaky://late/1/"), "{object}");
                assert!(names(&here).is_empty());
                assert_eq!(asides(&folder), 1, "the same one each time");
                assert!(done > last, "{done} after {last}");
                (read, last) = (read + done - last, done);
            }
            Err(other) => panic!("{other}"),
        }
    };
    assert!(pulls > 4, "{pulls}");
    assert_eq!((pulled.resumed, pulled.read), (last, total - last));
    assert_eq!(read + pulled.read, total, "nothing was read twice");
    here.verify(&pulled.entry).unwrap();
    assert_eq!(asides(&folder), 0);
    let theirs = listing(&folder.0.join("elsewhere/late/1"));
    assert_eq!(listing(&folder.0.join("here/late/1")), theirs);

    // What is left of one is of no use to another by that name, and is swept away.
    publish(&elsewhere, "2", 0);
    here.pull(Pull::new(&Flaky::new(&folder, 90_001), "late", "2")).unwrap_err();
    elsewhere.remove("late", "2").unwrap();
    let other = Draft::new(manifest("2", 7)).file("model.onnx", MODEL).bytes("weights/a.bin", weights(9));
    elsewhere.publish(other).unwrap();
    let pulled = here.pull(Pull::new(&source(&folder), "late", "2")).unwrap();
    assert_eq!(pulled.resumed, 0);
    here.verify(&pulled.entry).unwrap();
    publish(&elsewhere, "3", 0);
    here.pull(Pull::new(&Flaky::new(&folder, 90_001), "late", "3")).unwrap_err();
    assert_eq!((asides(&folder), here.sweep().unwrap().asides, asides(&folder)), (1, 1, 0));
}

/// Bug: a pull was led out of the repository: it deleted and wrote below whatever folder a link led to. Cause: the name of the folder
/// that it works in can be foretold, and a link to a folder was taken for one. Fix: it works in one of another name then.
#[cfg(unix)]
#[test]
fn a_link_where_a_pull_would_work_leads_it_nowhere() {
    let (folder, _elsewhere, here) = places();
    let home = folder.0.join("home");
    fs::create_dir_all(home.join("whole")).unwrap();
    fs::write(home.join("whole/theirs"), "x").unwrap();
    let before = listing(&home);
    fs::create_dir_all(folder.0.join("here/late")).unwrap();
    std::os::unix::fs::symlink(&home, folder.0.join("here/late/.aside-pull-1")).unwrap();
    let pulled = here.pull(Pull::new(&source(&folder), "late", "1")).unwrap();
    here.verify(&pulled.entry).unwrap();
    assert_eq!(listing(&home), before);
}

/// What is left aside is held against the manifest like everything: it may have been torn by a machine that went down.
#[test]
fn what_an_interrupted_pull_has_left_is_not_believed() {
    let left = |path: &str| format!("here/late/.aside-pull-1/whole/{path}");
    type Spoil = fn(&Path);
    let spoils: [Spoil; 5] = [
        |file| fs::write(file, vec![0; 50_000]).unwrap(),
        |file| fs::write(file, vec![0; LARGE]).unwrap(),
        |file| fs::write(file, vec![0; LARGE + 9]).unwrap(),
        |file| fs::write(file, []).unwrap(),
        |file| fs::remove_file(file).unwrap(),
    ];
    for spoil in spoils {
        let (folder, _, here) = places();
        here.pull(Pull::new(&Flaky::new(&folder, 90_001), "late", "1")).unwrap_err();
        spoil(&folder.0.join(left("weights/a.bin")));
        let pulled = here.pull(Pull::new(&source(&folder), "late", "1")).unwrap();
        here.verify(&pulled.entry).unwrap();
    }
    // An object that is shorter than what has come of it is read from its beginning, and told for what it is.
    let (folder, _, here) = places();
    here.pull(Pull::new(&Flaky::new(&folder, 90_001), "late", "1")).unwrap_err();
    fs::write(folder.0.join("elsewhere/late/1/weights/a.bin"), &weights(1)[..1_000]).unwrap();
    let error = here.pull(Pull::new(&source(&folder), "late", "1")).unwrap_err();
    assert!(matches!(error, PullError::Short { found: 1_000, .. }), "{error}");
    assert_eq!(asides(&folder), 0);
}

#[test]
fn a_version_that_is_another_one_here_is_left_as_it_is() {
    let (folder, _, here) = places();
    let other = Draft::new(manifest("1", 7)).file("model.onnx", MODEL);
    here.publish(other).unwrap();
    let before = listing(&folder.0.join("here"));
    let pull = || here.pull(Pull::new(&source(&folder), "late", "1").tag("stable")).unwrap_err();
    let error = pull();
    assert!(matches!(&error, PullError::Different { version, .. } if version == "1"), "{error}");
    assert_eq!(listing(&folder.0.join("here")), before);
    // The same one, whose files somebody has changed, is no reason to say that it is there.
    here.remove("late", "1").unwrap();
    here.pull(Pull::new(&source(&folder), "late", "1")).unwrap();
    fs::write(folder.0.join("here/late/1/weights/a.bin"), weights(9)).unwrap();
    let error = pull();
    assert!(matches!(error, PullError::Repository(RepositoryError::Faulty { .. })), "{error}");
    // A tag of ours by the version's name would hide it, and no tag can have it.
    here.remove("late", "1").unwrap();
    here.publish(Draft::new(manifest("2", 0)).file("model.onnx", MODEL)).unwrap();
    here.tag("late", "1", "2").unwrap();
    assert!(matches!(pull(), PullError::Repository(RepositoryError::Exists { .. })));
    here.untag("late", "1").unwrap();
    for tag in ["1", "2", "latest", "a/b"] {
        let error = here.pull(Pull::new(&source(&folder), "late", "1").tag(tag)).unwrap_err();
        assert!(matches!(error, PullError::Repository(RepositoryError::Name { .. })), "{tag}: {error}");
    }
    assert_eq!((names(&here), asides(&folder)), (vec!["2".to_owned()], 0));
}

/// Bug: the first version of a model that was pulled was acknowledged, and a power cut took all of it. Cause: the folder that names
/// the model was never synced. Fix: it is, also where the model's folder is there already; and what could not be made to last goes
/// again.
#[test]
fn the_first_version_that_is_pulled_of_a_model_lasts() {
    let steps = |known: bool| {
        let ((folder, _, here), faults) = (places(), Faults::new());
        if known {
            fs::create_dir(folder.0.join("here/late")).unwrap();
        }
        here.disk_faults(faults.clone()).pull(Pull::new(&source(&folder), "late", "1")).unwrap();
        faults.steps()
    };
    // To make a folder is a step that is left out where it is there; to sync what names it is not.
    assert_eq!(steps(false), steps(true) + 1);
    let ((folder, _, here), faults) = (places(), Faults::new());
    let failing_here = here.disk_faults(faults.clone());
    for failing in 0..4 {
        faults.fail_after(failing);
        failing_here.pull(Pull::new(&source(&folder), "late", "1")).unwrap_err();
        assert!(!folder.0.join("here/late").exists(), "step {failing}");
    }
}

#[test]
fn a_disk_that_fails_at_any_step_leaves_no_half_version() {
    for torn in [false, true] {
        for failing in 0.. {
            let (folder, _, here) = places();
            let faults = Faults::new();
            let failing_here = here.clone().disk_faults(faults.clone());
            faults.fail_after(failing).once();
            if torn {
                faults.torn();
            }
            let pulled = failing_here.pull(Pull::new(&source(&folder), "late", "1").tag("stable"));
            if faults.steps() <= failing {
                pulled.unwrap();
                break;
            }
            assert!(pulled.is_err() || names(&here) == ["1"], "step {failing}");
            if pulled.is_err() {
                let seen = here.versions("late").unwrap_or_default();
                assert!(seen.is_empty(), "step {failing}: {seen:?}");
                assert!(here.tags("late").unwrap_or_default().is_empty(), "step {failing}");
                assert_eq!(asides(&folder), 0, "step {failing}");
            }
            faults.mend();
            let pulled = failing_here.pull(Pull::new(&source(&folder), "late", "1").tag("stable")).unwrap();
            here.verify(&pulled.entry).unwrap();
            assert_eq!(here.resolve("late", "stable").unwrap(), pulled.entry, "step {failing}");
            assert_eq!((asides(&folder), here.sweep().unwrap().asides), (0, 0), "step {failing}");
        }
    }
}

#[test]
fn several_who_pull_one_version_at_once_all_have_it() {
    let (folder, _, here) = places();
    let gate = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                gate.wait();
                let pulled = here.pull(Pull::new(&source(&folder), "late", "1")).unwrap();
                here.verify(&pulled.entry).unwrap();
            });
        }
    });
    assert_eq!((names(&here), asides(&folder)), (vec!["1".to_owned()], 0));
}

#[cfg(feature = "signatures")]
#[test]
fn a_version_is_pulled_if_a_trusted_key_signed_it() {
    use switchback::repository::TrustedKeys;
    const KEY: &str = "RWSCzNvEdk18d/1s4yjXGLdPN6Z8FYjzeB9fDJuBrw/wnwJFLM7n0JFC";
    let folder = Folder::new();
    let signed = FolderSource::open("tests/repository").unwrap();
    let here = Repository::create(folder.0.join("here")).unwrap();
    let here = here.trusting(TrustedKeys::required().key(KEY).unwrap());
    let pulled = here.pull(Pull::new(&signed, "signed", "1")).unwrap();
    here.verify(&pulled.entry).unwrap();
    assert!(pulled.entry.folder.join("manifest.json.minisig").exists());
    let mut read = 0;
    let error = here.pull(Pull::new(&signed, "late", "1").on_progress(|_| read += 1)).unwrap_err();
    assert!(error.to_string().contains("late/1/manifest.json cannot be used: it is not signed"), "{error}");
    assert_eq!((read, asides(&folder)), (0, 0), "nothing of it was read");
}

#[cfg(unix)]
#[test]
fn a_pipe_at_a_source_is_not_waited_for() {
    let (folder, _, here) = places();
    let file = folder.0.join("elsewhere/late/1/weights/b.bin");
    fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    let error = here.pull(Pull::new(&source(&folder), "late", "1")).unwrap_err();
    let PullError::Source(SourceError::Unreadable { object, cause }) = &error else { panic!("{error}") };
    assert!(object.ends_with("weights/b.bin") && cause.to_string().contains("a named pipe"), "{cause}");
}
