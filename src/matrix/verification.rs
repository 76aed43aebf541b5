//! How the bot's device stands with other people: whether its owner has signed it.

use matrix_sdk::Client;

use super::DeviceTrust;

/// Returns what the local store knows; the first key query after a login may still be on its way.
pub(super) async fn device_trust(client: &Client) -> DeviceTrust {
    match client.encryption().get_own_device().await {
        Ok(Some(device)) if device.is_cross_signed_by_owner() => DeviceTrust::Verified,
        Ok(Some(_)) => DeviceTrust::Unverified,
        Ok(None) | Err(_) => DeviceTrust::Unknown,
    }
}
