//! Addresses of buckets, and the settings of their clients.

use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::list::PaginatedListStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig};

use super::network::Cause;

/// The operations of a client of a bucket.
pub(crate) trait Client: ObjectStore + PaginatedListStore {}

impl<S: ObjectStore + PaginatedListStore> Client for S {}

/// A bucket, of which nothing was asked yet.
pub(crate) struct Opened {
    pub(crate) client: Arc<dyn Client>,
    /// The address without a slash at its end.
    pub(crate) url: String,
    /// The prefix of the name of each object, with a slash at its end where there is anything.
    pub(crate) prefix: String,
}

/// The variables of the environment that are text.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The bucket at an address. A setting that is not known is an error where `strict`, and is passed over elsewhere.
///
/// # Errors
///
/// Returns what is wrong, and with which address, without what must not be printed.
pub(crate) fn open(
    url: &str,
    settings: impl Iterator<Item = (String, String)>,
    strict: bool,
    options: ClientOptions,
    retry: RetryConfig,
) -> Result<Opened, (String, Cause)> {
    // It is printed, and stands in errors.
    if url.contains(['?', '#']) || url.rsplit_once('@').is_some_and(|(user, _)| user.matches(':').count() > 1)
    {
        let hidden = url.split(['?', '#']).next().unwrap_or_default();
        let hidden = hidden.rsplit_once('@').map_or(hidden, |(_, host)| host);
        let why = "it has more than an address in it: say credentials in variables of the environment";
        return Err((hidden.to_owned(), why.into()));
    }
    let refused = |cause: Cause| (url.to_owned(), cause);
    let url = url.trim_end_matches('/');
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let (bucket, below) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(refused("an address of a bucket is like s3://bucket/models".into()));
    }
    macro_rules! built {
        ($builder:ty, $begins:literal) => {{
            let begun = <$builder>::new().with_client_options(options).with_retry(retry).with_url(url);
            let mut builder = begun;
            for (name, value) in settings {
                // It has a process started, and none is in a host's.
                if name.eq_ignore_ascii_case("AZURE_USE_AZURE_CLI") {
                    if strict {
                        return Err(refused(
                            format!("{name} would start a process: give credentials").into(),
                        ));
                    }
                    continue;
                }
                let key = name.starts_with($begins).then(|| name.to_ascii_lowercase().parse());
                builder = match key {
                    Some(Ok(key)) => builder.with_config(key, value),
                    _ if !strict => builder,
                    _ => return Err(refused(format!("{name} is no setting of such a bucket").into())),
                };
            }
            Arc::new(builder.build().map_err(|error| refused(error.into()))?) as Arc<dyn Client>
        }};
    }
    let client = match scheme {
        "s3" | "s3a" => built!(AmazonS3Builder, "AWS_"),
        "gs" => built!(GoogleCloudStorageBuilder, "GOOGLE_"),
        "az" | "azure" | "adl" | "abfs" | "abfss" => built!(MicrosoftAzureBuilder, "AZURE_"),
        _ => return Err(refused("it begins with none of s3://, gs://, az:// and abfss://".into())),
    };
    let prefix = if below.is_empty() { String::new() } else { format!("{below}/") };
    Ok(Opened { client, url: url.to_owned(), prefix })
}
