use crate::{Date, Email, Integer, Text, Url};

/// A type whose values can be unique among the resources of a user.
///
/// `bool` has too few values. Decimals and times are measured, so equality says little about them.
pub trait Unique {
    /// The value as a text that no other value has. None if there is no value: any number of resources may have none.
    fn text(&self) -> Option<String>;
}

impl<T: Unique> Unique for Option<T> {
    fn text(&self) -> Option<String> {
        self.as_ref().and_then(T::text)
    }
}

macro_rules! unique {
    ($([$($generics:tt)*] $type:ty),*) => {$(
        impl<$($generics)*> Unique for $type {
            fn text(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}

unique!([const MAX: usize] Text<MAX>, [const MAX: i64] Integer<MAX>, [] Date, [] Url, [] Email);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_value_has_no_text() {
        let value = Text::<9>::try_from("1".to_owned()).ok();
        assert_eq!(value.text(), Some("1".into()));
        assert_eq!(None::<Date>.text(), None);
    }
}
