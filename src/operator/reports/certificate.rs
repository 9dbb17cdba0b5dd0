//! The endpoint's certificate, of our own making, in one Secret that the chart creates empty. I/O around a pure `make`.
//!
//! The operator may get and update that one Secret and no other. An update names the version it is based on, so of two replicas one
//! wins, and the other takes what it wrote.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, PostParams};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// A certificate lasts so long, in days; it is renewed when a third is left.
const DAYS: i64 = 365;
/// The authority behind it, the same.
const CA_DAYS: i64 = 3650;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The API server does not answer, or refuses.
    #[error("Secret {0}: {1}")]
    Api(String, Box<kube::Error>),
    /// It is not there.
    #[error("there is no Secret {0}; the chart (or deploy/install.yaml) makes it, empty: install it again")]
    Missing(String),
    /// Keys cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// Others change it all the time.
    #[error("Secret {0} is changed by others all the time; is another operator of the same name at work?")]
    Contended(String),
}

/// What the endpoint serves with, and what agents check it against; all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The authority's certificate.
    pub ca_pem: String,
    /// The endpoint's.
    pub certificate_pem: String,
    /// Its key.
    pub key_pem: String,
}

/// The keys in the Secret, made anew where they are missing, old, or another service's.
///
/// # Errors
/// See [`KeysError`].
pub async fn keys(
    client: &Client,
    namespace: &str,
    secret: &str,
    service: &str,
    now: Timestamp,
) -> Result<Keys, KeysError> {
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    let shown = format!("{namespace}/{secret}");
    let host = format!("{service}.{namespace}.svc");
    let today = now.to_zoned(TimeZone::UTC).date();
    for _ in 0..5 {
        let found = api.get_opt(secret).await.map_err(|e| KeysError::Api(shown.clone(), Box::new(e)))?;
        let mut found = found.ok_or_else(|| KeysError::Missing(shown.clone()))?;
        let kept = Kept::read(found.data.as_ref());
        if let Some(kept) = kept.as_ref().filter(|kept| kept.is_good(&host, today)) {
            return Ok(kept.keys.clone());
        }
        let made = make(&host, today, kept.as_ref())?;
        found.data = Some(made.data());
        match api.replace(secret, &PostParams::default(), &found).await {
            Ok(_) => {
                tracing::info!("made a certificate for {host}, kept in Secret {shown}");
                return Ok(made.keys);
            }
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            Err(error) => return Err(KeysError::Api(shown, Box::new(error))),
        }
    }
    Err(KeysError::Contended(shown))
}

/// What the Secret holds.
#[derive(Debug, Clone)]
struct Kept {
    keys: Keys,
    ca_key: String,
    host: String,
    made: Date,
    ca_made: Date,
}

impl Kept {
    /// `None` where something is missing or unreadable.
    fn read(data: Option<&BTreeMap<String, ByteString>>) -> Option<Kept> {
        let text = |key: &str| String::from_utf8(data?.get(key)?.0.clone()).ok();
        Some(Kept {
            keys: Keys { ca_pem: text("ca.crt")?, certificate_pem: text("tls.crt")?, key_pem: text("tls.key")? },
            ca_key: text("ca.key")?,
            host: text("host")?,
            made: text("made")?.parse().ok()?,
            ca_made: text("ca-made")?.parse().ok()?,
        })
    }

    fn data(&self) -> BTreeMap<String, ByteString> {
        let (made, ca_made) = (self.made.to_string(), self.ca_made.to_string());
        let all = [
            ("ca.crt", &self.keys.ca_pem),
            ("tls.crt", &self.keys.certificate_pem),
            ("tls.key", &self.keys.key_pem),
            ("ca.key", &self.ca_key),
            ("host", &self.host),
            ("made", &made),
            ("ca-made", &ca_made),
        ];
        all.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes()))).collect()
    }

    fn is_good(&self, host: &str, today: Date) -> bool {
        self.host == host && is_young(self.made, today, DAYS) && is_young(self.ca_made, today, CA_DAYS)
    }
}

/// Whether a third of the days is left.
fn is_young(made: Date, today: Date, days: i64) -> bool {
    let age = (today - made).get_days();
    (-1..days * 2 / 3).contains(&i64::from(age))
}

/// New keys for `host`; the authority is kept while it is young, so that agents need not learn another.
fn make(host: &str, today: Date, kept: Option<&Kept>) -> Result<Kept, rcgen::Error> {
    let mut ca = CertificateParams::new(vec![])?;
    ca.distinguished_name.push(DnType::CommonName, "spoolway operator");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let kept = kept.filter(|kept| is_young(kept.ca_made, today, CA_DAYS));
    let (ca_key, ca_made) = match kept.and_then(|kept| Some((KeyPair::from_pem(&kept.ca_key).ok()?, kept))) {
        Some((key, kept)) => (key, kept.ca_made),
        None => (KeyPair::generate()?, today),
    };
    (ca.not_before, ca.not_after) = lasting(ca_made, CA_DAYS);
    let ca_pem = match kept.filter(|kept| kept.ca_made == ca_made && kept.ca_key == ca_key.serialize_pem()) {
        Some(kept) => kept.keys.ca_pem.clone(),
        None => ca.self_signed(&ca_key)?.pem(),
    };
    let short = host.trim_end_matches(".svc");
    let names = vec![host.to_owned(), format!("{host}.cluster.local"), short.to_owned()];
    let mut server = CertificateParams::new(names)?;
    server.distinguished_name.push(DnType::CommonName, "spoolway reports");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (server.not_before, server.not_after) = lasting(today, DAYS);
    let key = KeyPair::generate()?;
    let ca_key_pem = ca_key.serialize_pem();
    let certificate = server.signed_by(&key, &Issuer::new(ca, ca_key))?;
    let keys = Keys { ca_pem, certificate_pem: certificate.pem(), key_pem: key.serialize_pem() };
    Ok(Kept { keys, ca_key: ca_key_pem, host: host.to_owned(), made: today, ca_made })
}

/// From the day before `made`, for clocks that differ, so many days.
fn lasting(made: Date, days: i64) -> (time::OffsetDateTime, time::OffsetDateTime) {
    let at = |date: Date| rcgen::date_time_ymd(date.year().into(), date.month() as u8, date.day() as u8);
    let day = jiff::Span::new().days(1);
    (at(made.saturating_sub(day)), at(made.saturating_add(jiff::Span::new().days(days))))
}

/// Keys for a host, for tests of the server.
#[cfg(test)]
pub(super) fn make_for_tests(host: &str) -> Keys {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    make(host, today, None).expect("keys").keys
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "spoolway-report.spoolway-system.svc";

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn what_was_made_is_found_again_and_good_for_two_thirds_of_its_life() {
        let made = make(HOST, day("2026-01-01"), None).unwrap();
        let read = Kept::read(Some(&made.data())).unwrap();
        assert_eq!(read.keys, made.keys);
        for (host, today, good) in [
            (HOST, "2026-01-01", true),
            (HOST, "2026-08-31", true),
            (HOST, "2026-09-02", false),
            (HOST, "2020-01-01", false),
            ("other.spoolway-system.svc", "2026-01-01", false),
        ] {
            assert_eq!(read.is_good(host, day(today)), good, "{host} {today}");
        }
    }

    #[test]
    fn an_empty_or_spoilt_secret_holds_nothing() {
        assert!(Kept::read(None).is_none());
        let mut data = make(HOST, day("2026-01-01"), None).unwrap().data();
        data.insert("made".into(), ByteString(b"yesterday".to_vec()));
        assert!(Kept::read(Some(&data)).is_none());
    }

    #[test]
    fn a_renewal_keeps_the_authority_while_that_is_young() {
        let first = make(HOST, day("2026-01-01"), None).unwrap();
        let second = make(HOST, day("2026-09-10"), Some(&first)).unwrap();
        assert_eq!(second.keys.ca_pem, first.keys.ca_pem);
        assert_ne!(second.keys.certificate_pem, first.keys.certificate_pem);
        let third = make(HOST, day("2033-01-01"), Some(&second)).unwrap();
        assert_ne!(third.keys.ca_pem, first.keys.ca_pem);
    }
}
