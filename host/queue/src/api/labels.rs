//! Labels in a record: as JSON, since they are text for readers of events and few messages have
//! them.

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use relevo_mailkit::labels::Labels;

pub(crate) fn encode<C, W: Write>(
    labels: &Labels,
    encoder: &mut Encoder<W>,
    _: &mut C,
) -> Result<(), encode::Error<W::Error>> {
    let json = serde_json::to_vec(labels).map_err(encode::Error::message)?;
    encoder.bytes(&json)?;
    Ok(())
}

pub(crate) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Labels, decode::Error> {
    serde_json::from_slice(decoder.bytes()?).map_err(decode::Error::message)
}
