//! A store in a bucket: S3, Google Cloud Storage, Azure, and what speaks as they do.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::{
    ClientOptions, GetOptions, GetResult, ObjectMeta, ObjectStoreExt, PutMode, PutOptions, RetryConfig,
    UpdateVersion,
};
use parking_lot::Mutex;

use super::key::Key;
use super::probe::probe;
use super::store::{Listed, Over, Page, Read, Store, StoreError, StoreLimits, Tag};
use super::unfit::UnfitStoreError;
use crate::base::bucket::{Client, Opened, environment, open};
use crate::base::clock::Timestamp;
use crate::base::network::{Cause, Network};
use crate::base::text::hex;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);

/// How long a call may take: half of the ten seconds that a lease holds, so that one that is lost leaves time for another.
const ANSWERED: Duration = Duration::from_secs(5);

/// Where what the probe puts lies, under a name that nobody else draws.
const PROBED: &str = "probe";

/// A store in a bucket: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`,
/// `abfss://container@account.dfs.core.windows.net/prefix`.
///
/// Values are objects, and a tag is an object's ETag. Whoever asks needs to be allowed to get, put and list objects under the prefix;
/// to delete them only for what the probe leaves. No rule of the bucket's may remove or move objects under it.
///
/// # Is the server fit?
///
/// Amazon's, Google's and Azure's promise what a fleet needs, in one region. Of others many say that they do. So nothing is
/// put before a [probe](Self::probe) has passed: nineteen requests, once for each value of this type. A server that ignores conditions is
/// refused with [`StoreError::Unfit`]. One that looks at the condition and writes a moment later passes: run `conformance`, of
/// the feature `testing`, against a server that is not one of the three.
///
/// # Threads, and time
///
/// Calls block. What waits for the network is a thread of the store's own, and a caller waits on a channel: so calls may come from
/// several threads, and one from within a host's asynchronous runtime does not panic, though it holds up the thread that it is
/// made on. A call ends after 5 seconds, or what [`timeout`](Self::timeout) says.
///
/// **No request is made twice.** The client would repeat a put whose answer was lost, and the second would find the first: a
/// conflict with itself. Whatever may have been received is [`Unknown`](StoreError::Unknown), and whoever polls asks again anyway.
///
/// ```no_run
/// use switchback::fleet::{Bucket, Key, Over, Store};
///
/// let store = Bucket::from_url("s3://ml-prod/switchback")?;
/// let head = Key::new("h/late/head")?;
/// let tag = store.put(&head, b"agreed", Over::Nothing)?;
/// store.put(&head, b"agreed anew", Over::This(&tag))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # How it is done
///
/// A value is put with `If-None-Match: *` or `If-Match`, and read with `If-None-Match`, of which 304 is "the same". No bucket that
/// is spoken to here removes on a condition: a value that is removed is replaced by an empty object, which stays and counts as
/// none. A status of 409 says that another write was under way and that nothing was done, not that anything else is
/// there; so what is there is looked at before it is called a conflict. Google's conditions are generations and not ETags: there each put
/// over a tag asks for the generation first. Times are the server's, in whole seconds.
pub struct Bucket {
    objects: Objects,
    /// Nothing while it is not known whether the server is fit.
    fit: Mutex<Option<Result<(), UnfitStoreError>>>,
}

impl Bucket {
    /// The store at an address, with credentials and settings from the variables that the tools of its kind use:
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`; `GOOGLE_SERVICE_ACCOUNT`;
    /// `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`. Without any, those of the machine or of its workload are asked
    /// for where it runs. A variable that says nothing to this is passed over, and so is
    /// `AZURE_USE_AZURE_CLI`, which would start a process.
    ///
    /// Asks nothing of the network yet, so that a process can start while the bucket is away.
    ///
    /// # Errors
    ///
    /// [`Refused`](StoreError::Refused): the address is none of a bucket, or a setting cannot be read.
    pub fn from_url(url: &str) -> Result<Self, StoreError> {
        Self::made(url, environment(), false)
    }

    /// The store at an address, with these settings alone, by the names that the variables have: `AWS_ENDPOINT_URL`.
    ///
    /// # Errors
    ///
    /// [`Refused`](StoreError::Refused): the address is none of a bucket, or a setting is not known or cannot be read.
    pub fn with_settings<N: Into<String>, V: Into<String>>(
        url: &str,
        settings: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, StoreError> {
        Self::made(url, settings.into_iter().map(|(name, value)| (name.into(), value.into())), true)
    }

    /// With another time that a call may take: 5 seconds unless told.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.objects.timeout = timeout;
        self
    }

    /// Asks the server whether it holds to conditions, unless it has told before. Puts one object under `probe/` and
    /// deletes it. A put does this by itself; call it to know at a start.
    ///
    /// # Errors
    ///
    /// [`Unfit`](StoreError::Unfit), now and ever after, where the server is not; any other error where it could not be asked.
    pub fn probe(&self) -> Result<(), StoreError> {
        // Whoever waits for another thread's probe must have an end too.
        let Some(mut fit) = self.fit.try_lock_for(self.objects.timeout) else {
            return Err(StoreError::unreachable("another thread is still asking whether the bucket is fit"));
        };
        if let Some(told) = &*fit {
            return told.clone().map_err(|found| StoreError::Unfit { found });
        }
        let told = self.objects.probe();
        match &told {
            Ok(()) => *fit = Some(Ok(())),
            Err(StoreError::Unfit { found }) => *fit = Some(Err(found.clone())),
            Err(_) => {}
        }
        told
    }

    fn made(
        url: &str,
        settings: impl Iterator<Item = (String, String)>,
        strict: bool,
    ) -> Result<Self, StoreError> {
        let options = ClientOptions::new().with_timeout_disabled().with_connect_timeout(CONNECT);
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let opened = open(url, settings, strict, options, retry)
            .map_err(|(place, cause)| StoreError::refused(format!("{place}: {cause}")))?;
        let network = Network::new("switchback-fleet-bucket").map_err(StoreError::unreachable)?;
        let by_generation = url.starts_with("gs:");
        Ok(Self {
            objects: Objects { opened, network, timeout: ANSWERED, by_generation },
            fit: Mutex::default(),
        })
    }
}

impl Store for Bucket {
    fn get(&self, key: &Key, known: Option<&Tag>) -> Result<Read, StoreError> {
        self.objects.get(key, known)
    }

    fn put(&self, key: &Key, value: &[u8], over: Over<'_>) -> Result<Tag, StoreError> {
        self.limits().check(value)?;
        self.probe()?;
        self.objects.put(key, value, over)
    }

    fn list(&self, under: &Key, after: Option<&Key>) -> Result<Page, StoreError> {
        self.objects.list(under, after)
    }

    fn remove(&self, key: &Key, that: &Tag) -> Result<(), StoreError> {
        self.probe()?;
        self.objects.remove(key, that)
    }

    fn limits(&self) -> StoreLimits {
        self.objects.limits()
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("url", &self.objects.opened.url).finish_non_exhaustive()
    }
}

/// The bucket, before anybody has asked whether it is fit.
struct Objects {
    opened: Opened,
    network: Network,
    timeout: Duration,
    /// Whether the server's conditions name generations, and not ETags.
    by_generation: bool,
}

/// What came of a conditional put.
enum Placed {
    Done(Tag),
    /// Something else is there, or nothing.
    Conflict,
    /// Nothing was done. What is there is not known.
    Busy(Cause),
}

impl Objects {
    /// What comes of a request within its time, `late` where nothing did.
    fn ask<T: Send + 'static>(
        &self,
        late: fn(Cause) -> StoreError,
        future: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let timeout = self.timeout;
        let told = self.network.wait(async move {
            let told = tokio::time::timeout(timeout, future).await;
            told.unwrap_or_else(|_| Err(late(format!("no answer within {timeout:?}").into())))
        });
        told.unwrap_or_else(|cause| Err(late(cause)))
    }

    fn client(&self) -> Arc<dyn Client> {
        Arc::clone(&self.opened.client)
    }

    fn path(&self, key: &Key) -> Result<Path, StoreError> {
        Path::parse(format!("{}{key}", self.opened.prefix)).map_err(StoreError::refused)
    }

    fn probe(&self) -> Result<(), StoreError> {
        let mut drawn = [0; 16];
        getrandom::fill(&mut drawn).map_err(|error| StoreError::unreachable(error.to_string()))?;
        let invalid = |error: crate::base::invalid::ArgumentError| StoreError::refused(error);
        let under = Key::new(PROBED).and_then(|root| root.join(&hex(&drawn))).map_err(invalid)?;
        let told = probe(self, &under);
        // Its name was drawn, so nobody else's can be lost. Whoever may not delete leaves an empty object.
        let (client, path) = (self.client(), self.path(&under.join("one").map_err(invalid)?)?);
        let _ = self
            .ask(StoreError::unknown, async move { client.delete(&path).await.map_err(StoreError::unknown) });
        told
    }

    /// Puts bytes, none of them where a value is removed.
    fn place(&self, key: &Key, bytes: &[u8], over: Option<&Tag>) -> Result<Placed, StoreError> {
        let (client, path, bytes) = (self.client(), self.path(key)?, bytes.to_vec());
        let (tag, by_generation) = (over.cloned(), self.by_generation);
        self.ask(StoreError::unknown, async move {
            let mode = match &tag {
                None => PutMode::Create,
                Some(tag) => {
                    let version = match by_generation {
                        false => None,
                        true => match client.head(&path).await {
                            Ok(meta) if meta.e_tag.as_deref() == Some(tag.as_str()) => meta.version,
                            Ok(_) => return Ok(Placed::Conflict),
                            Err(error) if is_absent(&error) => return Ok(Placed::Conflict),
                            Err(error) => return Err(unread(error)),
                        },
                    };
                    PutMode::Update(UpdateVersion { e_tag: Some(tag.to_string()), version })
                }
            };
            let options = PutOptions { mode, ..PutOptions::default() };
            match client.put_opts(&path, bytes.into(), options).await {
                Ok(put) => {
                    let tag = put.e_tag.ok_or_else(|| StoreError::unknown("the answer had no ETag"))?;
                    Ok(Placed::Done(Tag::new(tag)))
                }
                Err(error) => unplaced(error, tag.is_some()),
            }
        })
    }

    /// Puts over what is named, and finds out what a refusal means.
    fn replace(&self, key: &Key, bytes: &[u8], over: Over<'_>) -> Result<Tag, StoreError> {
        let named = match over {
            Over::Nothing => None,
            Over::This(tag) => Some(tag),
        };
        let busy = match (self.place(key, bytes, named)?, over) {
            (Placed::Done(tag), _) => return Ok(tag),
            (Placed::Conflict, Over::This(_)) => return Err(StoreError::Conflict),
            (Placed::Conflict, Over::Nothing) => None,
            (Placed::Busy(cause), _) => Some(cause),
        };
        // Nothing was done, so what cannot be read now does not make that unknown.
        let there = self.meta(key)?;
        match (there, over) {
            // What is there was removed: nothing is what is replaced.
            (Some(meta), Over::Nothing) if meta.size == 0 => {
                let empty = tag(&meta)?;
                match self.place(key, bytes, Some(&empty))? {
                    Placed::Done(tag) => Ok(tag),
                    Placed::Conflict => Err(StoreError::Conflict),
                    Placed::Busy(cause) => Err(StoreError::unreachable(cause)),
                }
            }
            (Some(_), Over::Nothing) => Err(StoreError::Conflict),
            (Some(meta), Over::This(named)) if tag(&meta)? != *named => Err(StoreError::Conflict),
            (None, Over::This(_)) => Err(StoreError::Conflict),
            (_, over) => Err(match busy {
                Some(cause) => StoreError::unreachable(cause),
                // Somebody has deleted the object since: it was there.
                None if over == Over::Nothing => StoreError::Conflict,
                None => StoreError::unreachable("the bucket refuses, and does not say why"),
            }),
        }
    }

    /// What an object is, without its bytes.
    fn meta(&self, key: &Key) -> Result<Option<ObjectMeta>, StoreError> {
        let (client, path) = (self.client(), self.path(key)?);
        self.ask(StoreError::unreachable, async move {
            // Not by `HEAD`: an answer without a body does not tell a missing object from a missing bucket.
            match client.get_opts(&path, GetOptions::default()).await {
                Ok(found) => Ok(Some(found.meta)),
                Err(error) if is_absent(&error) => Ok(None),
                Err(error) => Err(unread(error)),
            }
        })
    }
}

impl Store for Objects {
    fn get(&self, key: &Key, known: Option<&Tag>) -> Result<Read, StoreError> {
        let (client, path, limit) = (self.client(), self.path(key)?, self.limits().value_bytes);
        let if_none_match = known.map(Tag::to_string);
        self.ask(StoreError::unreachable, async move {
            let options = GetOptions { if_none_match, ..GetOptions::default() };
            match client.get_opts(&path, options).await {
                Ok(found) if found.meta.size == 0 => Ok(Read::Absent),
                Ok(found) if found.meta.size > limit => {
                    Err(StoreError::TooLarge { bytes: found.meta.size, limit })
                }
                Ok(found) => {
                    let (tag, at) = (tag(&found.meta)?, at(&found.meta));
                    Ok(Read::Value { bytes: whole(found).await?, tag, at })
                }
                Err(object_store::Error::NotModified { .. }) => Ok(Read::Same),
                Err(error) if is_absent(&error) => Ok(Read::Absent),
                Err(error) => Err(unread(error)),
            }
        })
    }

    fn put(&self, key: &Key, value: &[u8], over: Over<'_>) -> Result<Tag, StoreError> {
        self.limits().check(value)?;
        self.replace(key, value, over)
    }

    fn list(&self, under: &Key, after: Option<&Key>) -> Result<Page, StoreError> {
        let (client, root) = (self.client(), self.opened.prefix.clone());
        let (prefix, offset) = (format!("{root}{under}/"), after.map(|after| format!("{root}{after}")));
        self.ask(StoreError::unreachable, async move {
            let mut page = Page::default();
            let mut page_token = None;
            // One page of the bucket's may have nothing in it but what was removed.
            loop {
                let options =
                    PaginatedListOptions { offset: offset.clone(), page_token, ..Default::default() };
                let told = client.list_paginated(Some(&prefix), options).await.map_err(unread)?;
                for meta in &told.result.objects {
                    let name = meta.location.as_ref().strip_prefix(&root).unwrap_or_default();
                    // Whatever has another name was not put by a store.
                    if let Ok(key) = Key::new(name)
                        && meta.size > 0
                    {
                        page.entries.push(Listed {
                            key,
                            tag: listed(meta)?,
                            length: meta.size,
                            at: at(meta),
                        });
                    }
                }
                page_token = told.page_token;
                if page_token.is_none() || !page.entries.is_empty() {
                    page.more = page_token.is_some();
                    return Ok(page);
                }
            }
        })
    }

    fn remove(&self, key: &Key, that: &Tag) -> Result<(), StoreError> {
        self.replace(key, &[], Over::This(that)).map(drop)
    }
}

fn tag(meta: &ObjectMeta) -> Result<Tag, StoreError> {
    let tag = meta.e_tag.as_deref().ok_or_else(|| StoreError::damaged("the bucket gives no ETag"))?;
    Ok(Tag::new(tag))
}

/// The tag of an object in a listing. Azure's listings leave out the quotes that belong to an ETag, and that its answers have.
fn listed(meta: &ObjectMeta) -> Result<Tag, StoreError> {
    let tag = tag(meta)?;
    let is_quoted = ["\"", "W/"].iter().any(|begins| tag.as_str().starts_with(begins));
    Ok(if is_quoted { tag } else { Tag::new(format!("\"{tag}\"")) })
}

/// In whole seconds, since the answer of a read has no more and a listing may.
fn at(meta: &ObjectMeta) -> Timestamp {
    Timestamp::from_unix_seconds(u64::try_from(meta.last_modified.timestamp()).unwrap_or_default())
}

async fn whole(found: GetResult) -> Result<Vec<u8>, StoreError> {
    let expected = found.meta.size;
    let mut stream = found.into_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await {
        bytes.extend_from_slice(&chunk.map_err(unread)?);
    }
    match bytes.len() as u64 {
        length if length == expected => Ok(bytes),
        length => Err(StoreError::unreachable(format!("{length} of {expected} bytes came"))),
    }
}

/// The status of an answer, which the client tells in words alone. Where these change nothing is known of it any more, which is
/// safe; a test holds them.
fn status(error: &object_store::Error) -> Option<u16> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if let Some((_, rest)) = text.split_once("non-2xx status code: ") {
            return rest.get(..3)?.parse().ok();
        }
        next = error.source();
    }
    None
}

/// Whether nothing was sent, since there was no connection.
fn is_unsent(error: &object_store::Error) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(http) = error.downcast_ref::<HttpError>() {
            return http.kind() == HttpErrorKind::Connect;
        }
        next = error.source();
    }
    false
}

/// Whether there is a bucket, and no such object in it. A bucket that is gone must not look like one that is empty.
fn is_absent(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) && !says_no_bucket(error)
}

fn says_no_bucket(error: &object_store::Error) -> bool {
    let text = error.to_string();
    ["NoSuchBucket", "ContainerNotFound"].iter().any(|code| text.contains(code))
}

/// Whether the server says that it will not, whatever the condition is.
fn is_refusal(error: &object_store::Error) -> bool {
    use object_store::Error as E;
    match error {
        E::NotSupported { .. } | E::NotImplemented { .. } | E::InvalidPath { .. } => true,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } | E::NotFound { .. } => true,
        // A redirect that leads nowhere is the answer to a wrong region.
        other => match status(other) {
            Some(status) => matches!(status, 300..=399 | 400..=407 | 410..=428 | 430..=499 | 501),
            None => other.to_string().contains("redirect without LOCATION"),
        },
    }
}

/// Of a read nothing is done, whatever came of it.
fn unread(error: object_store::Error) -> StoreError {
    if is_refusal(&error) { StoreError::refused(error) } else { StoreError::unreachable(error) }
}

fn unplaced(error: object_store::Error, over_a_tag: bool) -> Result<Placed, StoreError> {
    use object_store::Error as E;
    // An error without a kind may be of the service that gives credentials, whose status says nothing of an object.
    let of_object = matches!(
        error,
        E::Precondition { .. } | E::AlreadyExists { .. } | E::NotModified { .. } | E::NotFound { .. }
    );
    match status(&error) {
        Some(412 | 304) if of_object => Ok(Placed::Conflict),
        Some(404) if of_object && over_a_tag && !says_no_bucket(&error) => Ok(Placed::Conflict),
        Some(409) if of_object => Ok(Placed::Busy(error.into())),
        // Google's, of more than one put of a key in a second.
        Some(429) => Err(StoreError::unreachable(error)),
        _ if is_refusal(&error) => Err(StoreError::refused(error)),
        _ if is_unsent(&error) => Err(StoreError::unreachable(error)),
        _ => Err(StoreError::unknown(error)),
    }
}
