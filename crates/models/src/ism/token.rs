//! What names a buffer in its whole network.

/// A buffer's name: bits 0 to 7 its place at its owner, 8 to 15 its owner's seat in the network, 16 to 63 a number from 1 on that
/// the network gives once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token(u64);

/// Numbers that there are: one each microsecond lasts nine years.
const NUMBERS: u64 = 1 << 48;

impl Token {
    /// `None` once the numbers have run out.
    pub(super) fn new(number: u64, seat: u8, dmb: u8) -> Option<Token> {
        let valid = (1..NUMBERS).contains(&number);
        valid.then_some(Token(number << 16 | u64::from(seat) << 8 | u64::from(dmb)))
    }

    /// As a driver brings it; `None` if no network gives such a token.
    pub(super) fn from_raw(raw: u64) -> Option<Token> {
        (raw >> 16 != 0).then_some(Token(raw))
    }

    pub(super) fn get(self) -> u64 {
        self.0
    }

    /// What tells it from every other of its network.
    pub(super) fn number(self) -> u64 {
        self.0 >> 16
    }

    /// The owner's seat.
    pub(super) fn seat(self) -> u8 {
        self.0.to_le_bytes()[1]
    }

    /// The place at its owner.
    pub(super) fn dmb(self) -> u8 {
        self.0.to_le_bytes()[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_where_its_buffer_is() {
        let token = Token::new(NUMBERS - 1, 0xab, 0x3f).unwrap();
        assert_eq!((token.get(), token.seat(), token.dmb()), (0xffff_ffff_ffff_ab3f, 0xab, 0x3f));
        assert_eq!(Token::from_raw(token.get()), Some(token));
    }

    #[test]
    fn there_is_no_token_zero_and_none_beyond_the_last_number() {
        assert_eq!(Token::new(0, 1, 1), None);
        assert_eq!(Token::new(NUMBERS, 0, 0), None);
        assert_eq!(Token::from_raw(0xffff), None);
    }
}
