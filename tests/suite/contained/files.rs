//! Files and folders that are traps: what lies there is looked at before it costs anything, what was checked is what runs,
//! and what has less than it had says so.
#![cfg(unix)]

/// What `work` gives; a panic where it waits for something that never comes.
#[cfg(any(feature = "onnx", feature = "repository", feature = "state"))]
fn without_waiting<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, outcome) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(work()));
    outcome
        .recv_timeout(std::time::Duration::from_secs(60))
        .unwrap_or_else(|_| panic!("{what} is waited for"))
}

/// Something that is no file, and that can be made without a process of its own.
#[cfg(any(feature = "onnx", feature = "repository", feature = "state"))]
fn socket(path: &std::path::Path) {
    std::os::unix::net::UnixListener::bind(path).unwrap();
}

#[cfg(feature = "onnx")]
mod models {
    use std::fs;
    use std::os::fd::AsRawFd;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, Barrier};

    use switchback::model::onnx::ndarray::array;
    use switchback::model::onnx::{Feed, OnnxModel, Outputs, PreparedCache, Tensors};
    use switchback::versions::Lifecycle;
    use switchback::{Model, model::LoadError};

    use super::{socket, without_waiting};
    use crate::common::Folder;
    use crate::common::matrix::{bytes, matrix_model, number};

    fn models() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models")
    }

    /// A model whose weights are in these files.
    fn with_external(locations: impl Iterator<Item = String>) -> Vec<u8> {
        let tensors = locations.enumerate().map(|(place, location)| {
            let entry = [bytes(1, b"location"), bytes(2, location.as_bytes())].concat();
            let name = format!("w{place}");
            let tensor =
                [number(1, 1), number(2, 1), bytes(8, name.as_bytes()), bytes(13, &entry), number(14, 1)];
            bytes(5, &tensor.concat())
        });
        let graph = [vec![bytes(2, b"g")], tensors.collect()].concat().concat();
        [number(1, 8), bytes(7, &graph), bytes(8, &number(2, 17))].concat()
    }

    /// Bug: a pipe or a device in the place of a model or its data hung whoever opened it, for ever. Cause: it was opened as
    /// a file, which waits for who writes to a pipe, and asked afterwards only whether it was a folder. Fix: files are looked
    /// at, opened without waiting, and asked what they are, in one place for all.
    #[test]
    fn a_model_or_its_data_that_is_a_pipe_or_a_device_is_named_and_not_waited_for() {
        let (pipe, _writer) = std::io::pipe().unwrap();
        let pipe = format!("/proc/self/fd/{}", pipe.as_raw_fd());
        for (target, expected) in [(pipe.as_str(), "a named pipe"), ("/dev/zero", "a device")] {
            let folder = Folder::new();
            let path = folder.0.join("model.onnx");
            std::os::unix::fs::symlink(target, &path).unwrap();
            match without_waiting(target, move || OnnxModel::from_file(path)) {
                Err(LoadError::NotAFile { file, what }) => {
                    assert!(file.ends_with("model.onnx") && what == expected, "{}: {what}", file.display());
                }
                other => panic!("{other:?}"),
            }
        }
        let folder = Folder::new();
        fs::copy(models().join("external.onnx"), folder.0.join("external.onnx")).unwrap();
        socket(&folder.0.join("external.data"));
        let opened = OnnxModel::from_file(folder.0.join("external.onnx"));
        assert!(
            matches!(&opened, Err(LoadError::NotAFile { file, what }) if file.ends_with("external.data") && *what == "a socket"),
            "{opened:?}"
        );
    }

    /// Bug: one file of external data that a model spelled in 3,000 ways was hashed 3,000 times. Cause: each location was
    /// taken for a file of its own. Fix: a file is known by what its name comes to and by its number, and read once.
    #[test]
    fn external_data_is_read_once_however_many_names_it_goes_by() {
        let folder = Folder::new();
        let data = vec![7; 1 << 16];
        fs::write(folder.0.join("d"), &data).unwrap();
        fs::hard_link(folder.0.join("d"), folder.0.join("e")).unwrap();
        let spelled = (0..3_000).map(|times| format!("{}{}", "./".repeat(times), ["d", "e"][times % 2]));
        let model = with_external(spelled);
        fs::write(folder.0.join("model.onnx"), &model).unwrap();
        let opened = OnnxModel::from_file(folder.0.join("model.onnx")).unwrap();
        assert_eq!(opened.description().file_bytes, (model.len() + data.len()) as u64);
        assert_eq!(opened.digests().count(), 3_001, "each name has its digest");
    }

    /// Bug: packed labels of 100 MB took 1.5 GB, and operator sets and metadata could do the like. Cause: what is one byte in
    /// a file was kept as thirty, without a limit. Fix: each has one, and is refused before it is exceeded; a model that is
    /// larger than any, or its data, is refused by its size.
    #[test]
    fn what_a_file_says_is_bounded_before_it_takes_memory() {
        let model = |node: &[u8], more: &[u8]| {
            let graph = [bytes(2, b"g"), bytes(1, node)].concat();
            [number(1, 8), bytes(7, &graph), bytes(8, &number(2, 17)), more.to_vec()].concat()
        };
        let labels = bytes(5, &[bytes(1, b"classlabels_int64s"), bytes(8, &vec![1; (1 << 20) + 1])].concat());
        let opsets = bytes(8, &[]).repeat(1 << 11);
        let metadata: Vec<u8> =
            (0..70_000).flat_map(|key: u32| bytes(14, &bytes(1, key.to_string().as_bytes()))).collect();
        for (bytes, expected) in [
            (model(&labels, &[]), "more than 1048576 labels"),
            (model(&[], &opsets), "more than 1024 operator sets"),
            (model(&[], &metadata), "more than 65536 entries of metadata"),
        ] {
            match OnnxModel::from_bytes("large", bytes) {
                Err(LoadError::NotOnnx { cause, .. }) => assert!(cause.contains(expected), "{cause}"),
                other => panic!("{expected}: {other:?}"),
            }
        }
        // With holes: they take no disk, and would take all day.
        let folder = Folder::new();
        let hole = |name: &str, bytes| fs::File::create(folder.0.join(name)).unwrap().set_len(bytes).unwrap();
        hole("model.onnx", 1 << 40);
        fs::write(folder.0.join("outside.onnx"), with_external(["d".to_owned()].into_iter())).unwrap();
        hole("d", 1 << 42);
        for (name, expected) in [("model.onnx", "a model at most"), ("outside.onnx", "external data")] {
            let path = folder.0.join(name);
            match without_waiting(name, move || OnnxModel::from_file(path)) {
                Err(LoadError::Refused { cause, .. }) => assert!(cause.contains(expected), "{cause}"),
                other => panic!("{other:?}"),
            }
        }
    }

    /// What both sessions of a model answer, asked at once.
    fn both<R: Send>(ask: impl Fn() -> R + Sync) -> [R; 2] {
        std::thread::scope(|scope| {
            let other = scope.spawn(&ask);
            [ask(), other.join().unwrap()]
        })
    }

    /// Bug: of 5,487 loads while files were exchanged 102 ran other bytes than those of their digest, and sessions of one
    /// version disagreed. Cause: a model was hashed, and loaded from its path later; one that was exchanged in between, and
    /// put back, passed, since only what lay there before and after was looked at. Fix: what is loaded is the memory that was
    /// hashed.
    #[test]
    fn a_model_that_is_exchanged_between_check_and_load_and_put_back_is_loaded_as_it_was_checked() {
        let folder = Folder::new();
        let path = folder.0.join("model.onnx");
        let [right, wrong, aside] = ["right", "wrong", "aside"].map(|name| folder.0.join(name));
        fs::write(&right, matrix_model(2, 7.0)).unwrap();
        fs::write(&wrong, matrix_model(2, 14.0)).unwrap();
        fs::hard_link(&right, &path).unwrap();
        let (exchanged, together) = (Arc::new(AtomicU32::new(0)), Arc::new(Barrier::new(2)));
        let model = {
            let (path, exchanged) = (path.clone(), Arc::clone(&exchanged));
            // Asked for its options between the check and the load: exchanged for the first session, put back for the other.
            OnnxModel::from_file(&path).unwrap().pool_size(2).session_options("exchange", move |builder| {
                let times = exchanged.fetch_add(1, Ordering::Relaxed);
                fs::hard_link([&wrong, &right][times as usize % 2], &aside).unwrap();
                fs::rename(&aside, &path).unwrap();
                Ok(builder)
            })
        };
        let encode = move |_: &(), feed: &mut Feed<'_, '_>| {
            together.wait();
            feed.buffer("x", &[1, 2])?.copy_from_slice(&[0.0_f32, 1.0]);
            Ok(())
        };
        let decode = |outputs: &Outputs<'_>| Ok(outputs.tensor::<f32>("y")?.1.to_vec());
        let model = model.pipeline("both@1", encode, decode);
        model.load().unwrap();
        assert_eq!(exchanged.load(Ordering::Relaxed), 2, "exchanged and put back");
        assert_eq!(both(|| model.predict(&()).unwrap()), [vec![2.0, 3.0], vec![2.0, 3.0]]);
    }

    /// The same of external data, which is loaded from where it lies. Fix: what was looked at before is looked at again, with
    /// the time of its last change, which nobody can set; what was changed meanwhile is read and loaded again.
    #[test]
    fn external_data_that_is_exchanged_between_check_and_load_and_put_back_is_loaded_as_it_was_checked() {
        let folder = Folder::new();
        for name in ["external.onnx", "external.data"] {
            fs::copy(models().join(name), folder.0.join(name)).unwrap();
        }
        let data = folder.0.join("external.data");
        let right = fs::read(&data).unwrap();
        let exchanged = Arc::new(AtomicU32::new(0));
        let model = {
            let (exchanged, data, right) = (Arc::clone(&exchanged), data.clone(), right.clone());
            OnnxModel::from_file(folder.0.join("external.onnx")).unwrap().pool_size(2).session_options(
                "exchange",
                move |builder| {
                    match exchanged.fetch_add(1, Ordering::Relaxed) {
                        0 => fs::write(&data, 1.0_f32.to_le_bytes().repeat(2)).unwrap(),
                        1 => fs::write(&data, &right).unwrap(),
                        _ => {}
                    }
                    Ok(builder)
                },
            )
        };
        // The first session has other data, and would be kept if it was put back for the second.
        let loaded = model.load();
        assert!(
            matches!(&loaded, Err(LoadError::Refused { cause, .. }) if cause.contains("has changed")),
            "{loaded:?}"
        );
        fs::write(&data, &right).unwrap();
        model.load().unwrap();
        let together = Barrier::new(2);
        let answer = || {
            together.wait();
            model.predict(&Tensors::new().with("x", array![1.0_f32, 2.0]).unwrap()).unwrap()
        };
        for answer in both(answer) {
            assert_eq!(answer.get::<f32>("y").unwrap(), &array![11.0_f32, 22.0].into_dyn());
        }
        // Written to once more while the first of them was loaded, so that one was loaded again.
        assert_eq!(exchanged.load(Ordering::Relaxed), 4);
    }

    /// Bug: a model in the cache of a model hub was refused, though ONNX Runtime loads it. Cause: external data had to lie in
    /// the folder of the model as it was named, and to have one name; a hub's folder has links to another one's files. Fix: it
    /// may lie in the folder that the model is named in, or in that of the file that its name leads to, under any number of
    /// names.
    #[test]
    fn external_data_lies_where_the_model_is_named_or_where_it_really_is_and_nowhere_else() {
        let hub = Folder::new();
        for folder in ["blobs", "snapshots", "elsewhere"] {
            fs::create_dir(hub.0.join(folder)).unwrap();
        }
        let link = |from: &str, to: &str| std::os::unix::fs::symlink(from, hub.0.join(to)).unwrap();
        fs::copy(models().join("external.onnx"), hub.0.join("blobs/0a1b")).unwrap();
        fs::copy(models().join("external.data"), hub.0.join("blobs/2c3d")).unwrap();
        fs::hard_link(hub.0.join("blobs/2c3d"), hub.0.join("elsewhere/data")).unwrap();
        link("../blobs/0a1b", "snapshots/external.onnx");
        link("../blobs/2c3d", "snapshots/external.data");
        let open = || OnnxModel::from_file(hub.0.join("snapshots/external.onnx"));
        let model = open().unwrap();
        model.load().unwrap();
        let output = model.predict(&Tensors::new().with("x", array![1.0_f32, 2.0]).unwrap()).unwrap();
        assert_eq!(output.get::<f32>("y").unwrap(), &array![11.0_f32, 22.0].into_dyn());

        fs::remove_file(hub.0.join("snapshots/external.data")).unwrap();
        link("../elsewhere/data", "snapshots/external.data");
        assert!(matches!(open(), Err(LoadError::Refused { cause, .. }) if cause.contains("through a link")));
    }

    /// Bug: what a process was making in a cache was removed where its lock could not be asked. Cause: any error of opening
    /// the lock counted as its absence. Fix: only a lock that was got, or one that is not there for a minute, means that
    /// nobody is left.
    #[test]
    fn what_is_made_in_a_cache_stays_where_its_lock_cannot_be_asked() {
        let folder = Folder::new();
        drop(PreparedCache::open(&folder.0).unwrap());
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        for (name, with_lock) in [(".aside-0a", true), (".aside-0b", false)] {
            let aside = folder.0.join(name);
            fs::create_dir(&aside).unwrap();
            if with_lock {
                socket(&aside.join(".lock"));
            }
            fs::File::open(&aside).unwrap().set_modified(long_ago).unwrap();
        }
        PreparedCache::open(&folder.0).unwrap();
        assert!(folder.0.join(".aside-0a").exists(), "nobody can tell whose it is");
        assert!(!folder.0.join(".aside-0b").exists(), "it never had a lock, and is old");
    }

    /// Bug: a prepared file that was overwritten while it was in use gave wrong answers until it was made anew, a second or two,
    /// and nothing said so. Cause: whoever made it anew told nobody. Fix: an event says since when answers may be wrong, and what
    /// is mapped is its owner's alone.
    #[test]
    fn a_prepared_form_that_is_written_to_while_it_is_in_use_is_told_with_what_it_may_have_answered() {
        use std::os::unix::fs::PermissionsExt;
        use switchback::events::EventKind;
        use switchback::options::Threads;
        let folder = Folder::new();
        let cache = PreparedCache::open(&folder.0).unwrap().smallest(0);
        let model =
            OnnxModel::from_bytes("matrix", matrix_model(64, 1.0)).unwrap().prepared(&cache).pool_size(1);
        let clock = crate::common::clock();
        let service = switchback::ModelHandle::builder("late")
            .live("v1", model)
            .clock(clock.clone())
            .threads(Threads::manual())
            .build()
            .unwrap();
        let doubts = || {
            let doubt = |event: &std::sync::Arc<switchback::events::Event>| match &event.kind {
                EventKind::AnswersInDoubt { version, since, reason } => {
                    Some((event.at, *version, *since, reason.clone()))
                }
                _ => None,
            };
            service.events().iter().filter_map(doubt).collect::<Vec<_>>()
        };
        service.tick();
        assert_eq!(doubts().len(), 0);
        let entry = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().path());
        let weights = entry.into_iter().find(|path| path.is_dir()).unwrap().join("model.data");
        assert_eq!(fs::metadata(&weights).unwrap().permissions().mode() & 0o777, 0o400);
        fs::set_permissions(&weights, fs::Permissions::from_mode(0o600)).unwrap();
        let length = fs::metadata(&weights).unwrap().len() as usize;
        fs::write(&weights, vec![0; length]).unwrap();
        service.tick();
        let told = doubts();
        let [(at, version, since, reason)] = &told[..] else { panic!("{told:?}") };
        assert!(*version == "v1" && since <= at && reason.contains("prepared form"), "{told:?}");
        service.tick();
        assert_eq!(doubts().len(), 1, "once");
    }

    /// Bug: weights beside a model that were overwritten in place changed the answers of live, and no event said so. Cause: ONNX
    /// Runtime maps them, and only what was loaded was looked at. Fix: whoever keeps versions up looks at them too, tells since
    /// when answers may be wrong, and says at each look that the version is not what it was.
    #[test]
    fn weights_that_are_written_to_while_they_are_in_use_are_told_with_what_they_may_have_answered() {
        use switchback::events::EventKind;
        use switchback::options::Threads;
        let folder = Folder::new();
        let at = |name: &str| folder.0.join(name);
        for name in ["external.onnx", "external.data"] {
            fs::copy(models().join(name), at(name)).unwrap();
        }
        let model = OnnxModel::from_file(at("external.onnx")).unwrap().pool_size(1);
        let clock = crate::common::clock();
        let service = switchback::ModelHandle::builder("late")
            .live("v1", model)
            .clock(clock.clone())
            .threads(Threads::manual())
            .build()
            .unwrap();
        let told = || {
            let of = |event: &std::sync::Arc<switchback::events::Event>| match &event.kind {
                EventKind::AnswersInDoubt { version, since, reason } => {
                    assert!(*version == "v1" && *since <= event.at && reason.contains("weights"), "{event}");
                    Some("in doubt")
                }
                EventKind::Degraded { .. } => Some("degraded"),
                _ => None,
            };
            service.events().iter().filter_map(of).collect::<Vec<_>>()
        };
        // Touched, and what it was: nothing to tell.
        fs::write(at("external.data"), fs::read(models().join("external.data")).unwrap()).unwrap();
        service.tick();
        assert_eq!(told(), [""; 0]);
        let length = fs::metadata(at("external.data")).unwrap().len() as usize;
        fs::write(at("external.data"), vec![0; length]).unwrap();
        service.tick();
        service.tick();
        assert_eq!(told(), ["degraded", "in doubt"], "each once");
    }

    /// Bug: weights that could not be looked at once, in a folder that was moved or on a disk that failed one call, were told to have been
    /// written to, with answers in doubt, and the version was degraded for good. Cause: whatever a look came to counted as a change. Fix: a
    /// change is one that was seen; otherwise it is looked again.
    #[test]
    fn weights_that_cannot_be_looked_at_for_a_while_have_not_been_written_to() {
        use switchback::events::EventKind;
        use switchback::options::Threads;
        let folder = Folder::new();
        let (here, elsewhere) = (folder.0.join("here"), folder.0.join("elsewhere"));
        fs::create_dir(&here).unwrap();
        for name in ["external.onnx", "external.data"] {
            fs::copy(models().join(name), here.join(name)).unwrap();
        }
        let model = OnnxModel::from_file(here.join("external.onnx")).unwrap().pool_size(1);
        let service = switchback::ModelHandle::builder("late")
            .live("v1", model)
            .clock(crate::common::clock())
            .threads(Threads::manual())
            .build()
            .unwrap();
        let told = || {
            service.tick();
            let of = |event: &Arc<switchback::events::Event>| match &event.kind {
                EventKind::AnswersInDoubt { .. } => Some("in doubt".to_owned()),
                EventKind::Degraded { reason, .. } => Some(reason.clone()),
                _ => None,
            };
            service.events().iter().filter_map(of).collect::<Vec<_>>()
        };
        assert!(told().is_empty());
        fs::rename(&here, &elsewhere).unwrap();
        let moved = told();
        assert!(moved.len() == 1 && moved[0].contains("cannot be read"), "{moved:?}");
        fs::rename(&elsewhere, &here).unwrap();
        assert_eq!(told(), moved, "it is as it was");
        // Its data alone, which is refused in other words.
        fs::rename(here.join("external.data"), folder.0.join("data")).unwrap();
        let missing = told();
        assert!(missing.len() == 2 && missing[1].contains("`external.data` is missing"), "{missing:?}");
        fs::rename(folder.0.join("data"), here.join("external.data")).unwrap();
        assert_eq!(told(), missing, "it is as it was");
        let length = fs::metadata(here.join("external.data")).unwrap().len() as usize;
        fs::write(here.join("external.data"), vec![0; length]).unwrap();
        let written = told();
        assert!(
            written.len() == 4 && written[2].contains("has changed") && written[3] == "in doubt",
            "{written:?}"
        );
    }

    /// The same of a cache: an entry that another user had planted in a folder of theirs gave another model's answers under a
    /// good identity.
    #[test]
    fn a_cache_whose_group_may_write_is_mended_and_one_of_another_user_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        use switchback::model::onnx::PreparedCacheError;
        let folder = Folder::new();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let load = |cache: &PreparedCache| {
            let model =
                OnnxModel::from_file(models().join("affine.onnx")).unwrap().prepared(cache).pool_size(1);
            model.load().unwrap();
        };
        load(&PreparedCache::open(&folder.0).unwrap().smallest(0));
        let entry = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().path());
        let entry = entry.into_iter().find(|path| path.is_dir()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&entry), mode(&entry.join("model.onnx"))), (0o700, 0o400), "its owner's alone");

        set(&folder.0, 0o770);
        set(&entry, 0o770);
        let cache = PreparedCache::open(&folder.0).unwrap().smallest(0);
        load(&cache);
        let counts = cache.counts();
        assert_eq!((counts.mended, counts.made, counts.broken), (2, 0, 0));
        assert_eq!((mode(&folder.0), mode(&entry)), (0o750, 0o750));
        set(&folder.0, 0o707);
        assert!(matches!(PreparedCache::open(&folder.0), Err(PreparedCacheError::NotPrivate { .. })));
        set(&folder.0, 0o700);
        // Only the superuser can give a folder away.
        if std::os::unix::fs::chown(&folder.0, Some(54_321), None).is_ok() {
            let refused = PreparedCache::open(&folder.0);
            assert!(
                matches!(refused, Err(PreparedCacheError::NotOwned { owner: 54_321, .. })),
                "{refused:?}"
            );
        }
    }
}

#[cfg(feature = "repository")]
mod repository {
    use std::fs;

    use switchback::Timestamp;
    use switchback::repository::{Draft, Manifest, Repository, RepositoryError};

    use super::{socket, without_waiting};
    use crate::common::Folder;

    fn published(folder: &Folder) -> Repository {
        let models = Repository::create(&folder.0).unwrap();
        let manifest = Manifest::new("late", "1", Timestamp::from_unix_seconds(1_790_000_000));
        models.publish(Draft::new(manifest).bytes("model.onnx", *b"model")).unwrap();
        models
    }

    /// Bug: a pipe or a device in the place of a lock, a manifest or a file that was to be published hung whoever came there.
    /// Cause and fix as for models.
    #[test]
    fn a_file_of_a_repository_that_is_none_is_named_and_not_waited_for() {
        use std::os::fd::AsRawFd;
        let (pipe, _writer) = std::io::pipe().unwrap();
        let pipe = std::path::PathBuf::from(format!("/proc/self/fd/{}", pipe.as_raw_fd()));
        let folder = Folder::new();
        let models = published(&folder);

        let manifest = Manifest::new("late", "2", Timestamp::from_unix_seconds(1_790_000_000));
        let draft = Draft::new(manifest).file("model.onnx", pipe);
        let publishing = models.clone();
        let refused = without_waiting("a pipe", move || publishing.publish(draft)).unwrap_err();
        assert!(matches!(refused, RepositoryError::NotAFile { what: "a named pipe", .. }), "{refused:?}");

        let model = folder.0.join("late");
        socket(&model.join(".tags.lock"));
        match models.tag("late", "stable", "1") {
            Err(RepositoryError::NotAFile { path, what: "a socket" }) => {
                assert!(path.ends_with(".tags.lock"))
            }
            other => panic!("{other:?}"),
        }
        fs::remove_file(model.join("1/manifest.json")).unwrap();
        socket(&model.join("1/manifest.json"));
        match models.get("late", "1") {
            Err(RepositoryError::Manifest { path, cause }) => {
                assert!(path.ends_with("manifest.json") && cause.contains("a socket"), "{cause}");
            }
            other => panic!("{other:?}"),
        }
    }

    /// Bug: on a file system over a network `sweep` removed what was being published. Cause: it asked locks through files that
    /// it had opened to read, which such a file system answers with an error, and took every answer but "somebody has it" for
    /// "nobody has". Fix: only a lock that was got means that nobody works there; what cannot be told is left alone, and
    /// counted.
    #[test]
    fn nothing_is_swept_that_somebody_may_be_working_on() {
        let folder = Folder::new();
        let models = published(&folder);
        let model = folder.0.join("late");
        let aside = |name: &str| {
            let path = model.join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("whole"), b"half").unwrap();
            path
        };
        let (unsure, held, left) = (aside(".aside-0a"), aside(".aside-0b"), aside(".aside-0c"));
        // An answer of the system that is no answer.
        socket(&unsure.join("lock"));
        let lock = fs::File::create(held.join("lock")).unwrap();
        lock.lock().unwrap();
        fs::write(left.join("lock"), b"").unwrap();
        let tags = model.join(".tags.json.0d");
        fs::write(&tags, b"{}").unwrap();
        let changing = fs::File::create(model.join(".tags.lock")).unwrap();
        changing.lock().unwrap();

        let swept = models.sweep().unwrap();
        assert_eq!((swept.asides, swept.unsure), (1, 1));
        assert!(unsure.exists() && held.exists() && tags.exists() && !left.exists());
        drop((lock, changing));
        let swept = models.sweep().unwrap();
        assert_eq!((swept.asides, swept.unsure), (2, 1));
        assert!(unsure.exists() && !held.exists() && !tags.exists());
    }
}

mod bounds {
    use switchback::Outcome;
    use switchback::feedback::FeedbackOutcome;
    use switchback::options::Limits;

    use crate::common::*;

    /// Bug: what was dropped at a bound was what had the lowest number, not what was oldest: a stream that had made its
    /// predictions from the beginning had its labels refused, and after some 300 lives on one state folder, each of which
    /// numbers its own from 0, no label of the newest life counted any more, in silence. Cause: exposures were kept by number,
    /// and the first of the map went. Fix: those go that have made no predictions for the longest time, and are counted.
    #[test]
    #[ignore = "long: thousands of exposures"]
    fn labels_of_what_still_answers_count_however_many_exposures_came_and_went() {
        let clock = clock();
        let limits = Limits::new().pin_lasts(seconds(86_400));
        let service = builder(&clock).live("v1", says("one", 0.1)).limits(limits).build().unwrap();
        let stream = service.request().pin().unwrap();
        stream.predict(&1.0).unwrap();
        let rollout = service.stage("v2", says("two", 0.9)).unwrap();
        for step in 0..2_100_u32 {
            rollout.canary(0.4 + f64::from(step) / 10_000.0).unwrap();
            // Both answer: two exposures for each change.
            let mut versions = std::collections::BTreeSet::new();
            while versions.len() < 2 {
                versions.insert(service.predict(&1.0).unwrap().version());
            }
            clock.advance(seconds(1));
        }
        rollout.canary(0.3).unwrap();
        tick(&service, &clock);
        let latest = ask(&service, 100).into_iter().map(|answer| answer.id());
        let of_the_stream = stream.predict(&1.0).unwrap().id();
        tick(&service, &clock);
        for id in latest.chain([of_the_stream]) {
            assert_eq!(service.feedback(id, Outcome::class(0)), FeedbackOutcome::Counted);
        }
        let forgotten = service.status().feedback.exposures_forgotten;
        assert!((1..300).contains(&forgotten), "{forgotten}");
    }
}

#[cfg(feature = "state")]
mod state {
    use std::fs;
    use std::path::Path;

    use switchback::events::EventKind;
    use switchback::feedback::FeedbackOutcome;
    use switchback::state::{StateError, history, repair};
    use switchback::testing::Faults;
    use switchback::{BuildError, Builder, Clock, Outcome};

    use super::{socket, without_waiting};
    use crate::common::*;

    fn remembering(clock: &Clock, folder: &Path) -> Builder<f64, f64> {
        builder(clock).live("v1", says("one", 0.1)).state(folder)
    }

    fn refused(builder: Builder<f64, f64>) -> StateError {
        match builder.build() {
            Err(BuildError::State(error)) => error,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it started"),
        }
    }

    fn less(service: &Service) -> Vec<String> {
        events(service, |kind| match kind {
            EventKind::StartedWithLess { reason } => Some(reason.clone()),
            _ => None,
        })
    }

    /// A pipe or a device in the place of a file of the folder hung a start, or named it without saying what it was.
    #[test]
    fn a_file_of_a_state_folder_that_is_none_is_named_and_not_waited_for() {
        for name in ["journal", "key", "lock", "mark"] {
            let (clock, folder) = (clock(), Folder::new());
            socket(&folder.0.join(name));
            let builder = remembering(&clock, &folder.0);
            match without_waiting(name, move || refused(builder)) {
                StateError::NotPlain { path, what: "a socket" } => assert!(path.ends_with(name)),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Bug: a journal that was cut at one of the ends of its batches, one that was exchanged for an older copy, and one that was
    /// removed, started in silence with older facts: a quarantine and a promotion were gone. Cause: what is left is whole by
    /// itself, and nothing knew how far it had been written. Fix: how far it was acknowledged is noted beside it, and a start
    /// that finds less is refused; a person says that it is all there is.
    #[test]
    fn a_start_that_has_less_of_its_journal_than_was_written_is_refused_until_a_person_says_so() {
        let (clock, folder) = (clock(), Folder::new());
        let journal = folder.0.join("journal");
        let service = remembering(&clock, &folder.0).build().unwrap();
        let older = fs::read(&journal).unwrap();
        let ends: Vec<u64> = (0..3)
            .map(|number| {
                service.freeze(format!("for the reason {number}"));
                fs::metadata(&journal).unwrap().len()
            })
            .collect();
        drop(service);
        let whole = fs::read(&journal).unwrap();
        assert_eq!(whole.len() as u64, ends[2]);

        for end in [older.len() as u64, ends[0], ends[1]] {
            fs::write(&journal, &whole[..end as usize]).unwrap();
            let error = refused(remembering(&clock, &folder.0));
            assert!(matches!(&error, StateError::Behind { path, .. } if *path == journal), "{error}");
            assert!(error.to_string().contains("put back the newest one"), "{error}");
            let last = history(&folder.0).unwrap().last().unwrap();
            assert!(matches!(last, Err(StateError::Behind { .. })), "{last:?}");
        }
        fs::remove_file(&journal).unwrap();
        assert!(matches!(refused(remembering(&clock, &folder.0)), StateError::Behind { .. }));

        // The newest one is put back: nothing is missing.
        fs::write(&journal, &whole).unwrap();
        let service = remembering(&clock, &folder.0).build().unwrap();
        assert_eq!(service.status().frozen.as_deref(), Some("for the reason 2"));
        drop(service);
        // One of an earlier life.
        fs::write(&journal, &whole).unwrap();
        assert!(matches!(refused(remembering(&clock, &folder.0)), StateError::Behind { .. }));
        let repaired = repair(&folder.0).unwrap();
        assert!(repaired.state && repaired.lost_bytes > 0, "{repaired:?}");
        let service = remembering(&clock, &folder.0).build().unwrap();
        assert_eq!(less(&service), [""; 0], "a person has said so");
        drop(service);
        // And none at all.
        fs::remove_file(&journal).unwrap();
        assert!(!repair(&folder.0).unwrap().state);
        let service = remembering(&clock, &folder.0).build().unwrap();
        assert_eq!(service.status().frozen, None);
    }

    /// Bug: a key that was gone was drawn anew in silence, and genuine ids were called unknown. Fix: the journal knows which key
    /// sealed its ids, and a start with another one says so, with what to do.
    #[test]
    fn a_start_whose_key_is_gone_or_another_one_says_so() {
        let (clock, folder) = (clock(), Folder::new());
        let key = folder.0.join("key");
        let service = remembering(&clock, &folder.0).build().unwrap();
        assert_eq!(less(&service), [""; 0], "a first start has all there is");
        let id = service.predict(&1.0).unwrap().id().to_string();
        drop(service);
        let right = fs::read(&key).unwrap();
        fs::remove_file(&key).unwrap();

        let service = remembering(&clock, &folder.0).build().unwrap();
        assert_eq!(service.feedback(id.parse().unwrap(), Outcome::class(1)), FeedbackOutcome::Unknown);
        let told = less(&service);
        assert!(matches!(&told[..], [reason] if reason.contains("put back the file `key`")), "{told:?}");
        drop(service);
        assert_eq!(less(&remembering(&clock, &folder.0).build().unwrap()), [""; 0], "once");

        fs::write(&key, &right).unwrap();
        assert_eq!(less(&remembering(&clock, &folder.0).build().unwrap()).len(), 1, "another one");
        let service = remembering(&clock, &folder.0).secret([7; 16]).build().unwrap();
        let told = less(&service);
        assert!(matches!(&told[..], [reason] if reason.contains("the secret is another one")), "{told:?}");
    }

    /// Bug: of 5,000 events that happened while the disk failed 3,977 were missing from the history, and `dropped()` said 0.
    /// Cause: the handle remembers some thousand, and whoever wrote them down later took those for all. Fix: what is remembered
    /// no more is counted where the journal counts what it has dropped.
    #[test]
    fn events_that_were_forgotten_while_the_disk_failed_are_counted_in_the_history() {
        let (clock, folder, faults) = (clock(), Folder::new(), Faults::new());
        // Each change tries to write all that is remembered, so little is.
        let service = remembering(&clock, &folder.0).limits(switchback::options::Limits::new().events(100));
        let service = service.disk_faults(faults.clone()).build().unwrap();
        faults.fail_after(0);
        (0..400).for_each(|number| service.freeze(format!("for the reason {number}")));
        faults.mend();
        // And once more: that state is saved again is an event of its own.
        (0..2).for_each(|_| service.checkpoint().unwrap());
        let happened = service.events().last().unwrap().sequence;
        drop(service);
        let mut history = history(&folder.0).unwrap();
        let dropped = history.dropped();
        let there = history.by_ref().map(Result::unwrap).count() as u64;
        assert!(dropped > 100, "{dropped}");
        assert_eq!(there + dropped, happened);
    }

    /// Bug: the second start on a folder of one's own was refused for ever, where whoever manages its volume sets the write bit
    /// of the group at each mount; and a folder that another user owns passed, who so decided what is live. Cause: the mode was
    /// looked at, and nothing else. Fix: the folder's owner is asked; a group that may write is kept from it on the opened
    /// folder, and an event says so; others that may write stay an error.
    #[test]
    fn a_state_folder_whose_group_may_write_is_mended_and_one_of_another_user_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (clock, folder) = (clock(), Folder::new());
        drop(remembering(&clock, &folder.0).build().unwrap());
        let set = |mode| fs::set_permissions(&folder.0, fs::Permissions::from_mode(mode)).unwrap();
        let told = |service: &Service| {
            events(service, |kind| match kind {
                EventKind::StateFolderMended { folder } => Some(folder.clone()),
                _ => None,
            })
        };
        set(0o2770);
        let service = remembering(&clock, &folder.0).build().unwrap();
        assert_eq!(told(&service), [folder.0.display().to_string()]);
        assert_eq!(fs::metadata(&folder.0).unwrap().permissions().mode() & 0o7777, 0o2750);
        drop(service);
        assert_eq!(told(&remembering(&clock, &folder.0).build().unwrap()), [""; 0]);
        set(0o707);
        assert!(matches!(refused(remembering(&clock, &folder.0)), StateError::NotPrivate { .. }));
        set(0o700);
        // Only the superuser can give a folder away.
        if std::os::unix::fs::chown(&folder.0, Some(54_321), None).is_ok() {
            match refused(remembering(&clock, &folder.0)) {
                StateError::NotOwned { folder: refused, owner: 54_321 } => assert_eq!(refused, folder.0),
                other => panic!("{other:?}"),
            }
        }
    }
}

mod split {
    use crate::common::*;

    /// The keys of these that a candidate of one half answers, after so many rollouts came before it.
    fn on_the_canary(secret: Option<[u8; 16]>, rollouts_before: u32) -> Vec<u32> {
        let clock = clock();
        let builder = builder(&clock).live("v1", says("one", 0.1));
        let service = match secret {
            Some(secret) => builder.secret(secret),
            None => builder,
        };
        let service = service.build().unwrap();
        for number in 0..rollouts_before {
            let rollout = service.stage(format!("before-{number}"), says("before", 0.4)).unwrap();
            rollout.canary(0.1).unwrap();
            let _ = rollout.rollback("enough");
        }
        service.stage("v2", says("two", 0.9)).unwrap().canary(0.25).unwrap();
        let is_on = |key: &u32| service.predict_keyed(key.to_le_bytes(), &1.0).unwrap().version() == "v2";
        (0..2_000).filter(is_on).collect()
    }

    /// Bug: who could compute buckets from the handle's name put 300 of 300 requests on a canary of 1 % and had a good version
    /// quarantined with five inputs; and a replica that had had another number of rollouts split its keys otherwise. Cause: the
    /// split was an open hash of the name and that number. Fix: where a secret is given it is keyed by that, and follows from
    /// what all replicas have alike.
    #[test]
    fn who_is_on_a_canary_follows_from_the_secret_where_there_is_one_and_is_the_same_on_all_replicas() {
        let right = on_the_canary(Some([7; 16]), 0);
        assert!((400..600).contains(&right.len()), "{}", right.len());
        assert_eq!(on_the_canary(Some([7; 16]), 3), right, "a replica that had other rollouts");
        for other in [on_the_canary(Some([8; 16]), 0), on_the_canary(None, 0)] {
            let both = other.iter().filter(|key| right.contains(key)).count();
            // As many as by chance: a quarter of a quarter.
            assert!((60..200).contains(&both), "{both}");
        }
    }

    /// Bug: replicas gave half of all users another version once their histories differed. Cause: without a secret, the salt of
    /// the split counted the rollouts of the process. Fix: it is made of the handle's name and the candidate's identity.
    #[test]
    fn replicas_with_other_histories_give_every_user_the_same_version() {
        let versions = |rollouts_before: u32, name: &str| -> Vec<bool> {
            let clock = clock();
            let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
            for number in 0..rollouts_before {
                let rollout = service.stage(format!("before-{number}"), says("before", 0.4)).unwrap();
                rollout.canary(0.1).unwrap();
                let _ = rollout.rollback("enough");
            }
            // The same identity, which may go by another name here.
            service.stage(name, says("two", 0.9)).unwrap().canary(0.5).unwrap();
            let answered =
                |key: u32| service.predict_keyed(key.to_le_bytes(), &1.0).unwrap().version() == name;
            (0..1_000).map(answered).collect()
        };
        let first = versions(0, "v2");
        for other in [versions(3, "v2"), versions(7, "2026-11")] {
            assert_eq!(first.iter().zip(&other).filter(|(one, other)| one == other).count(), 1_000);
        }
    }
}
