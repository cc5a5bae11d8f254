use std::fmt;
use std::sync::Arc;

/// A value that no log may show: [`Secret::expose`] alone gives it away. A clone shares it.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// The value itself, for where it is used.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
