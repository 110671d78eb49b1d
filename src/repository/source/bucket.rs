//! A bucket as a source: S3, Google Cloud Storage, Azure, and what speaks as they do.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::{ClientOptions, GetOptions, GetRange, RetryConfig};

use super::source::{Source, SourceError};
use crate::base::bucket::{Opened, environment, open};
use crate::base::network::{Cause, Network};

/// How long a connection may take to be made: some round trips around the world.
const CONNECT: Duration = Duration::from_secs(5);

/// How long nothing may come: a bucket that is throttled says so, and one that says nothing is gone.
const SILENCE: Duration = Duration::from_secs(30);

/// How often a request is made again, and how long after it was made first.
const RETRIES: usize = 5;
const RETRIED_FOR: Duration = Duration::from_secs(60);

/// Pages of the entries of a folder, of a thousand or five thousand each: a model has some hundred versions.
const PAGES_MAX: usize = 64;

/// A repository in a bucket, as a [`Source`]: `s3://models`, `s3://bucket/below/models`, `gs://bucket/models`,
/// `az://container/models`, `abfss://container@account.dfs.core.windows.net/models`.
///
/// Who asks needs to be allowed to get objects and to list them: where one may not be listed, a bucket does not say that it is
/// missing. Nothing is ever written.
///
/// Calls block. What waits for the network is a thread of the bucket's own, so they may be made from asynchronous code too,
/// where they hold up whoever runs on that thread. A request that fails in a way that may pass is made again, five times within a
/// minute; a stream that breaks off goes on where it was, if the object is the same; 30 seconds of silence are an error.
///
/// ```no_run
/// use switchback::repository::{BucketSource, Pull, Repository};
///
/// let bucket = BucketSource::open("s3://models")?;
/// let models = Repository::create("/var/lib/models")?;
/// let pulled = models.pull(Pull::new(&bucket, "late", "stable").tag("stable"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BucketSource {
    opened: Opened,
    network: Network,
}

impl fmt::Debug for BucketSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketSource").field("url", &self.opened.url).finish_non_exhaustive()
    }
}

impl BucketSource {
    /// The repository at an address, with credentials and settings from the variables that the tools of its kind use:
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`; `GOOGLE_SERVICE_ACCOUNT`;
    /// `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`. Without any, those of the machine or of its workload are asked
    /// for where it runs. A variable that says nothing to this is passed over, and so is
    /// `AZURE_USE_AZURE_CLI`, which would start a process.
    ///
    /// Asks nothing of the network yet.
    ///
    /// # Errors
    ///
    /// The address is none of a bucket, or a setting cannot be read.
    pub fn open(url: &str) -> Result<Self, SourceError> {
        Self::made(url, environment(), false)
    }

    /// The repository at an address, with these settings alone, by the names that the variables have: `AWS_ENDPOINT_URL`.
    ///
    /// # Errors
    ///
    /// The address is none of a bucket, or a setting is not known or cannot be read.
    pub fn with_settings<N: Into<String>, V: Into<String>>(
        url: &str,
        settings: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, SourceError> {
        Self::made(url, settings.into_iter().map(|(name, value)| (name.into(), value.into())), true)
    }

    fn made(
        url: &str,
        settings: impl Iterator<Item = (String, String)>,
        strict: bool,
    ) -> Result<Self, SourceError> {
        let options = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(CONNECT)
            .with_read_timeout(SILENCE);
        let retry =
            RetryConfig { max_retries: RETRIES, retry_timeout: RETRIED_FOR, ..RetryConfig::default() };
        let opened = open(url, settings, strict, options, retry)
            .map_err(|(place, cause)| SourceError::unreadable(place, cause))?;
        let network =
            Network::new("switchback-bucket").map_err(|cause| SourceError::unreadable(url, cause))?;
        Ok(Self { opened, network })
    }

    fn wait<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, Cause>> + Send + 'static,
    ) -> Result<T, Cause> {
        self.network.wait(future)?
    }

    fn path(&self, object: &str) -> Result<Path, SourceError> {
        Path::parse(format!("{}{object}", self.opened.prefix))
            .map_err(|error| SourceError::unreadable(self.place(object), error))
    }
}

impl Source for BucketSource {
    fn folders(&self, folder: &str) -> Result<Vec<String>, SourceError> {
        let failed = |cause: Cause| SourceError::unreadable(self.place(folder), cause);
        let below = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let prefix = format!("{}{below}", self.opened.prefix);
        let store = Arc::clone(&self.opened.client);
        let names = self.wait(async move {
            let (mut names, mut page_token) = (Vec::new(), None);
            for _ in 0..PAGES_MAX {
                let options =
                    PaginatedListOptions { delimiter: Some("/".into()), page_token, ..Default::default() };
                let below = Some(prefix.as_str()).filter(|prefix| !prefix.is_empty());
                let page = store.list_paginated(below, options).await?;
                names.extend(
                    page.result.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)),
                );
                page_token = page.page_token;
                if page_token.is_none() {
                    return Ok(names);
                }
            }
            Err(format!("it has more than {PAGES_MAX} pages of entries").into())
        });
        names.map_err(failed)
    }

    fn read<'s>(&'s self, object: &str, from: u64) -> Result<Box<dyn Read + 's>, SourceError> {
        let path = self.path(object)?;
        let range = (from > 0).then_some(GetRange::Offset(from));
        let store = Arc::clone(&self.opened.client);
        let found = self.wait(async move {
            let options = GetOptions { range, ..GetOptions::default() };
            Ok(store.get_opts(&path, options).await?.into_stream())
        });
        match found {
            Ok(stream) => Ok(Box::new(Object { bucket: self, stream: Some(stream), chunk: None, read: 0 })),
            Err(error) => {
                let place = self.place(object);
                Err(match error.downcast_ref() {
                    Some(object_store::Error::NotFound { .. }) => SourceError::Missing { object: place },
                    _ => SourceError::unreadable(place, error),
                })
            }
        }
    }

    fn place(&self, path: &str) -> String {
        if path.is_empty() { self.opened.url.clone() } else { format!("{}/{path}", self.opened.url) }
    }
}

/// The bytes of an object, as they come.
struct Object<'s, S, B> {
    bucket: &'s BucketSource,
    /// Nothing after its end, or an error.
    stream: Option<S>,
    /// The chunk that has come last, and how much of it was read.
    chunk: Option<B>,
    read: usize,
}

impl<S, B> Read for Object<'_, S, B>
where
    S: Stream<Item = object_store::Result<B>> + Send + Unpin + 'static,
    B: AsRef<[u8]> + Send + 'static,
{
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.chunk.as_ref().map_or(&[][..], |chunk| chunk.as_ref());
            let left = left.get(self.read..).unwrap_or_default();
            if let (Some(into), taken @ 1..) = (buffer.get_mut(..left.len().min(buffer.len())), left.len()) {
                let taken = taken.min(into.len());
                into.copy_from_slice(left.get(..taken).unwrap_or_default());
                self.read += taken;
                return Ok(taken);
            }
            let Some(mut stream) = self.stream.take() else { return Ok(0) };
            let next = self.bucket.wait(async move {
                let next = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await;
                Ok((next.transpose()?, stream))
            });
            let (chunk, stream) = next.map_err(io::Error::other)?;
            (self.stream, self.chunk, self.read) = (chunk.is_some().then_some(stream), chunk, 0);
        }
    }
}
