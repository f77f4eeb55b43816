//! Values in a record as JSON: they are text, and few messages have them.

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) fn encode<C, T: Serialize, W: Write>(
    value: &T,
    encoder: &mut Encoder<W>,
    _: &mut C,
) -> Result<(), encode::Error<W::Error>> {
    let json = serde_json::to_vec(value).map_err(encode::Error::message)?;
    encoder.bytes(&json)?;
    Ok(())
}

pub(crate) fn decode<C, T: DeserializeOwned>(
    decoder: &mut Decoder<'_>,
    _: &mut C,
) -> Result<T, decode::Error> {
    serde_json::from_slice(decoder.bytes()?).map_err(decode::Error::message)
}
