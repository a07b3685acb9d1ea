//! What a request will be told to have read, as near as can be said before its service does.
//!
//! Nobody outside of a service can count its tokens. What it told of an earlier request of the same agent to the same model
//! is the best measure: a conversation grows at its end, so the next request reads what the one before it read, and what
//! was added. Only where there is none the text itself is counted. It is rather too much than too little.

use super::BYTES_PER_TOKEN;
use crate::usage::Tokens;

/// What a service told of an earlier request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// How many bytes of text it had.
    pub text: u64,
    /// What it read; what was written does not count here.
    pub read: Tokens,
}

/// What a request with so many bytes of text reads. `earlier` are requests of the same agent to the same model, the last
/// one last.
pub fn expected(text: u64, earlier: &[Earlier]) -> Tokens {
    let before = earlier
        .iter()
        .filter(|each| each.text <= text)
        .max_by_key(|each| each.text);
    if let Some(before) = before {
        let more = (text - before.text).div_ceil(BYTES_PER_TOKEN);
        return Tokens {
            input: before.read.input.saturating_add(more),
            // What was put into the cache is taken from it now.
            cached: before.read.cached.saturating_add(before.read.cache_write),
            ..Tokens::default()
        };
    }
    let input = match earlier.last() {
        // Another conversation, in the same language.
        Some(other) => {
            let Tokens {
                input,
                cached,
                cache_write,
                ..
            } = other.read;
            let all = u128::from(input) + u128::from(cached) + u128::from(cache_write);
            let share = (all * u128::from(text)).div_ceil(u128::from(other.text.max(1)));
            u64::try_from(share).unwrap_or(u64::MAX)
        }
        None => text.div_ceil(BYTES_PER_TOKEN),
    };
    Tokens {
        input,
        ..Tokens::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn earlier(text: u64, input: u64, cached: u64, cache_write: u64) -> Earlier {
        let read = Tokens {
            input,
            cached,
            cache_write,
            ..Tokens::default()
        };
        Earlier { text, read }
    }

    #[test]
    fn a_conversation_reads_what_it_read_before_and_what_was_added() {
        let all = [earlier(40_000, 200, 9000, 500), earlier(100, 25, 0, 0)];
        let read = expected(40_300, &all);
        assert_eq!((read.input, read.cached, read.cache_write), (300, 9500, 0));
    }

    #[test]
    fn a_shorter_request_reads_its_share_of_what_another_one_did() {
        let read = expected(1000, &[earlier(40_000, 200, 9000, 800)]);
        assert_eq!((read.input, read.cached), (250, 0));
    }

    #[test]
    fn the_first_request_is_counted_by_its_text() {
        assert_eq!(expected(10, &[]).input, 4);
        assert_eq!(expected(0, &[]), Tokens::default());
        assert_eq!(
            expected(u64::MAX, &[earlier(0, u64::MAX, u64::MAX, 0)]).cached,
            u64::MAX
        );
    }
}
