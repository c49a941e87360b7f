//! Fields of saved state: how a value becomes bytes and is read back.
//!
//! Reading takes nothing on trust: a list is never longer than the bytes that are left, so what is allocated is
//! bounded by what was handed in.

/// The longest text, in bytes.
const TEXT_BYTES: usize = 256;

/// Takes the bytes of a state, in order.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// As many values as there are, after their number.
    pub(crate) fn list<'a, T: Field + 'a>(&mut self, values: impl ExactSizeIterator<Item = &'a T>) {
        u32::try_from(values.len()).unwrap_or(u32::MAX).put(self);
        values.for_each(|value| value.put(self));
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Gives the bytes of a state, in order.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (now, later) = self.0.split_at_checked(count)?;
        self.0 = later;
        Some(now)
    }

    /// A list of `most` values at most.
    pub(crate) fn list<T: Field>(&mut self, most: usize) -> Option<Vec<T>> {
        let count = usize::try_from(u32::take(self)?).ok()?;
        // Each takes a byte or more, so no room is made for what cannot be there.
        if count > most || count > self.0.len() {
            return None;
        }
        (0..count).map(|_| T::take(self)).collect()
    }
}

/// A value that can be part of a saved state.
pub(crate) trait Field: Sized {
    /// Writes it.
    fn put(&self, out: &mut Writer);
    /// Reads it back; `None` if the bytes are none of it.
    fn take(from: &mut Reader<'_>) -> Option<Self>;
}

macro_rules! numbers {
    ($($number:ty),+) => { $(
        impl Field for $number {
            fn put(&self, out: &mut Writer) {
                out.bytes(&self.to_le_bytes());
            }

            fn take(from: &mut Reader<'_>) -> Option<Self> {
                let bytes = from.bytes(size_of::<Self>())?;
                Some(Self::from_le_bytes(bytes.try_into().ok()?))
            }
        }
    )+ };
}
numbers!(u8, u16, u32, u64, u128);

impl Field for usize {
    fn put(&self, out: &mut Writer) {
        (*self as u64).put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        u64::take(from)?.try_into().ok()
    }
}

impl Field for bool {
    fn put(&self, out: &mut Writer) {
        u8::from(*self).put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        match u8::take(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

/// Text of [`TEXT_BYTES`] at most.
impl Field for String {
    fn put(&self, out: &mut Writer) {
        out.list(self.as_bytes().iter());
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        String::from_utf8(from.list(TEXT_BYTES)?).ok()
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Writer) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        if bool::take(from)? { T::take(from).map(Some) } else { Some(None) }
    }
}

impl<T: Field, const N: usize> Field for [T; N] {
    fn put(&self, out: &mut Writer) {
        self.iter().for_each(|value| value.put(out));
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let values: Option<Vec<T>> = (0..N).map(|_| T::take(from)).collect();
        values?.try_into().ok()
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn put(&self, out: &mut Writer) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?))
    }
}

impl<A: Field, B: Field, C: Field> Field for (A, B, C) {
    fn put(&self, out: &mut Writer) {
        self.0.put(out);
        self.1.put(out);
        self.2.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?, C::take(from)?))
    }
}

/// Makes a field of a struct whose fields are all fields, in the order given. Each is named, both ways, so that a new one does
/// not compile before it is decided about.
macro_rules! fields {
    ($type:ty { $($field:ident),+ $(,)? }) => {
        impl $crate::saved::Field for $type {
            fn put(&self, out: &mut $crate::saved::Writer) {
                let Self { $($field),+ } = self;
                $($crate::saved::Field::put($field, out);)+
            }

            fn take(from: &mut $crate::saved::Reader<'_>) -> Option<Self> {
                Some(Self { $($field: $crate::saved::Field::take(from)?),+ })
            }
        }
    };
}
pub(crate) use fields;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(put: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut out = Writer::default();
        put(&mut out);
        out.into_bytes()
    }

    #[test]
    fn values_come_back_as_they_were() {
        type All = ((u8, bool, u128), Option<u64>, [(u16, u32); 2]);
        let all: All = ((1, true, 2), Some(3), [(4, 5), (6, 7)]);
        let bytes = bytes(|out| all.put(out));
        assert_eq!(All::take(&mut Reader::new(&bytes)), Some(all));
        assert!((0..bytes.len()).all(|cut| All::take(&mut Reader::new(&bytes[..cut])).is_none()));
    }

    #[test]
    fn a_list_is_no_longer_than_its_limit_or_what_is_left() {
        let list = bytes(|out| out.list([1_u16, 2, 3].iter()));
        assert_eq!(Reader::new(&list).list::<u16>(3), Some(vec![1, 2, 3]));
        assert_eq!(Reader::new(&list).list::<u16>(2), None);
        let huge = u32::MAX.to_le_bytes();
        assert_eq!(Reader::new(&huge).list::<u16>(usize::MAX), None);
    }

    #[test]
    fn a_bool_is_0_or_1() {
        assert_eq!(bool::take(&mut Reader::new(&[2])), None);
        assert_eq!(<Option<u8> as Field>::take(&mut Reader::new(&[2, 0])), None);
    }
}
