//! Secrets as files: `<dir>/<secret>/<key>`, as the kubelet mounts them and as `--secrets DIR` has them on a bare machine.
//!
//! I/O. What is read goes into librdkafka's configuration and nowhere else; no message holds any of it.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3Default;

/// A Secret that cannot be used: which one, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SecretError(String);

/// Where Secrets are.
#[derive(Debug, Clone)]
pub struct Secrets {
    directory: Option<PathBuf>,
}

/// Kubernetes keeps no larger Secret.
const LARGEST: u64 = 1 << 20;

/// Names of certificate and key: a Strimzi KafkaUser, then kubernetes.io/tls and cert-manager.
const CERTIFICATES: [(&str, &str); 2] = [("user.crt", "user.key"), ("tls.crt", "tls.key")];

impl Secrets {
    /// `None`: there are none, and a pipeline that names one is told so.
    pub fn new(directory: Option<PathBuf>) -> Self {
        Secrets { directory }
    }

    /// The text of one key, without the line end that editors add.
    ///
    /// # Errors
    /// It is missing, empty, not text, or (on a bare machine) readable by others.
    pub fn text(&self, secret: &str, key: &str) -> Result<String, SecretError> {
        let path = self.path(secret)?.join(key);
        let shown = path.display();
        let wrong = |why: String| SecretError(format!("secret {secret}, key {key}: {why}"));
        let bytes = std::fs::read(&path).map_err(|e| wrong(format!("{shown} cannot be read: {e}; create it")))?;
        self.check_mode(secret, &path).map_err(wrong)?;
        let text =
            String::from_utf8(bytes).map_err(|_| wrong(format!("{shown} is not text; it must be UTF-8 or PEM")))?;
        let text = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
        if text.is_empty() {
            return Err(wrong(format!("{shown} is empty")));
        }
        Ok(text.to_owned())
    }

    /// Certificate chain and key of a client, in either layout, as PEM.
    ///
    /// # Errors
    /// Neither layout is there, or both are, or the key is encrypted; see also [`Secrets::text`].
    pub fn certificate(&self, secret: &str) -> Result<(String, String), SecretError> {
        let directory = self.path(secret)?;
        let found: Vec<_> = CERTIFICATES.iter().filter(|(crt, _)| directory.join(crt).exists()).collect();
        let [(crt, key)] = found[..] else {
            let which = if found.is_empty() { "neither" } else { "both" };
            return Err(SecretError(format!(
                "secret {secret}: {} holds {which} user.crt and tls.crt; it must hold user.crt and user.key, or tls.crt and tls.key",
                directory.display()
            )));
        };
        let key_text = self.text(secret, key)?;
        if key_text.contains("ENCRYPTED") {
            return Err(SecretError(format!(
                "secret {secret}, key {key}: the key is encrypted; store it decrypted"
            )));
        }
        Ok((self.text(secret, crt)?, key_text))
    }

    /// A digest of all that is there now, to notice that it changed; what cannot be read counts as empty.
    pub fn digest(&self) -> u64 {
        let mut hash = Xxh3Default::new();
        for directory in self.directory.iter().flat_map(|directory| entries(directory)) {
            for file in entries(&directory) {
                let mut bytes = vec![];
                let read = std::fs::File::open(&file).map(|f| f.take(LARGEST).read_to_end(&mut bytes));
                hash.update(file.as_os_str().as_encoded_bytes());
                hash.update(&[u8::from(read.is_ok_and(|read| read.is_ok()))]);
                hash.update(&bytes.len().to_le_bytes());
                hash.update(&bytes);
            }
        }
        hash.digest()
    }

    fn path(&self, secret: &str) -> Result<PathBuf, SecretError> {
        match &self.directory {
            Some(directory) => Ok(directory.join(secret)),
            None => Err(SecretError(format!(
                "secret {secret} is named by the pipeline, but there is no --secrets DIR; put it into DIR/{secret}/"
            ))),
        }
    }

    /// What the kubelet mounts is guarded by the pod; elsewhere nobody else may read it.
    fn check_mode(&self, secret: &str, path: &Path) -> Result<(), String> {
        let mounted = self.path(secret).is_ok_and(|directory| directory.join("..data").exists());
        let mode = std::fs::metadata(path).map_or(0, |m| m.permissions().mode());
        if !mounted && mode & 0o077 != 0 {
            return Err(format!(
                "{0} can be read by others (mode {1:o}); chmod 600 {0}",
                path.display(),
                mode & 0o777
            ));
        }
        Ok(())
    }
}

/// What a directory holds, sorted, without the kubelet's own `..data`.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let named = found.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".."));
    let mut paths: Vec<_> = named.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &Path, name: &str, text: &str, mode: u32) {
        std::fs::create_dir_all(dir.join("s")).unwrap();
        let path = dir.join("s").join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn both_layouts_of_certificates_are_known_and_a_mixture_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(Some(dir.path().into()));
        assert!(secrets.certificate("s").unwrap_err().to_string().contains("holds neither user.crt and tls.crt"));
        put(dir.path(), "tls.crt", "CERT\n", 0o600);
        put(dir.path(), "tls.key", "KEY\r\n", 0o400);
        assert_eq!(secrets.certificate("s").unwrap(), ("CERT".into(), "KEY".into()));
        put(dir.path(), "tls.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----", 0o600);
        assert!(secrets.certificate("s").unwrap_err().to_string().contains("encrypted"));
        put(dir.path(), "user.crt", "CERT", 0o600);
        assert!(secrets.certificate("s").unwrap_err().to_string().contains("holds both"));
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_said_without_telling_it() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(Some(dir.path().into()));
        put(dir.path(), "open", "canary", 0o644);
        put(dir.path(), "empty", "\n", 0o600);
        let message = |key| secrets.text("s", key).unwrap_err().to_string();
        assert!(message("missing").contains("cannot be read: No such file"));
        assert!(message("open").contains("can be read by others (mode 644); chmod 600 "));
        assert!(!message("open").contains("canary"));
        assert!(message("empty").ends_with("is empty"));
        std::os::unix::fs::symlink("..2026", dir.path().join("s/..data")).unwrap();
        std::fs::create_dir(dir.path().join("s/..2026")).unwrap();
        assert_eq!(secrets.text("s", "open").unwrap(), "canary", "the kubelet's own mode is not ours to judge");
        assert!(Secrets::new(None).text("s", "k").unwrap_err().to_string().contains("no --secrets DIR"));
    }

    #[test]
    fn a_rotation_is_noticed_as_the_kubelet_does_it() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(Some(dir.path().into()));
        let mounted = dir.path().join("s");
        let rotate = |version: &str, password: &str| {
            std::fs::create_dir_all(mounted.join(version)).unwrap();
            std::fs::write(mounted.join(version).join("password"), password).unwrap();
            std::os::unix::fs::symlink(version, mounted.join("..new")).unwrap();
            std::fs::rename(mounted.join("..new"), mounted.join("..data")).unwrap();
        };
        let nothing = secrets.digest();
        rotate("..1", "old");
        std::os::unix::fs::symlink("..data/password", mounted.join("password")).unwrap();
        let old = secrets.digest();
        assert_ne!(old, nothing);
        rotate("..2", "old");
        assert_eq!(secrets.digest(), old, "the same in another directory is no change");
        rotate("..3", "new");
        assert_ne!(secrets.digest(), old);
        std::fs::remove_file(mounted.join("password")).unwrap();
        assert_eq!(secrets.digest(), nothing);
        assert_eq!(Secrets::new(None).digest(), nothing);
    }
}
