//! How ids and shared facts are written between nodes.

/// Ids: 16 octets.
pub(crate) mod item_id {
    use minicbor::decode::{self, Decoder};
    use minicbor::encode::{self, Encoder, Write};

    use crate::ItemId;

    pub(crate) fn encode<C, W: Write>(
        id: &ItemId,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.bytes(&id.0)?.ok()
    }

    pub(crate) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<ItemId, decode::Error> {
        let octets = decoder.bytes()?.try_into();
        octets.map(ItemId).map_err(|_| decode::Error::message("an id has 16 octets"))
    }
}

/// Ids that may be absent: no octets then.
pub(crate) mod optional_item_id {
    use minicbor::decode::{self, Decoder};
    use minicbor::encode::{self, Encoder, Write};

    use crate::ItemId;

    pub(crate) fn encode<C, W: Write>(
        id: &Option<ItemId>,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.bytes(id.as_ref().map_or(&[], |id| &id.0))?.ok()
    }

    pub(crate) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Option<ItemId>, decode::Error> {
        match decoder.bytes()? {
            [] => Ok(None),
            octets => {
                let octets = octets.try_into();
                octets.map(|id| Some(ItemId(id))).map_err(|_| decode::Error::message("an id has 16 octets"))
            }
        }
    }
}

/// Items with their tenants.
pub(crate) mod items {
    use minicbor::decode::{self, Decoder};
    use minicbor::encode::{self, Encoder, Write};

    use crate::ItemId;

    pub(crate) fn encode<C, W: Write>(
        items: &[(ItemId, String)],
        encoder: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.array(items.len() as u64)?;
        for (id, tenant) in items {
            super::item_id::encode(id, encoder.array(2)?, ctx)?;
            encoder.str(tenant)?;
        }
        Ok(())
    }

    pub(crate) fn decode<C>(
        decoder: &mut Decoder<'_>,
        ctx: &mut C,
    ) -> Result<Vec<(ItemId, String)>, decode::Error> {
        let short = || decode::Error::message("a list of items is cut short");
        let count = decoder.array()?.ok_or_else(short)?;
        let mut items = Vec::new();
        for _ in 0..count {
            if decoder.array()? != Some(2) {
                return Err(short());
            }
            items.push((super::item_id::decode(decoder, ctx)?, decoder.str()?.to_owned()));
        }
        Ok(items)
    }
}

/// Facts that are shared in memory.
pub(crate) mod shared_meta {
    use std::sync::Arc;

    use minicbor::decode::{self, Decoder};
    use minicbor::encode::{self, Encoder, Write};
    use minicbor::{Decode, Encode};

    use crate::ItemMeta;

    pub(crate) fn encode<C, W: Write>(
        meta: &Arc<ItemMeta>,
        encoder: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        meta.as_ref().encode(encoder, ctx)
    }

    pub(crate) fn decode<C>(decoder: &mut Decoder<'_>, ctx: &mut C) -> Result<Arc<ItemMeta>, decode::Error> {
        ItemMeta::decode(decoder, ctx).map(Arc::new)
    }
}
