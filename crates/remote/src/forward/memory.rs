//! Memory of the back end that is passed on to consumers as it is, in mode `passthrough`.
//!
//! It stays the back end's: nothing is hidden while the function is frozen ([`Memory::foreign`]). And a consumer that has mapped it
//! never asks again, so another back end, with another file, cannot take the place of this one while it does.

use std::sync::Arc;

use mapping::{Area, Holds, Memory};
use pci_core::{BarIndex, Mappable};
use vfio_user::client::Region;

use super::ForwardConfig;
use crate::picture::Picture;

/// The memory behind a region.
#[derive(Clone, Debug)]
pub(super) struct Passed {
    pub(super) region: u32,
    pub(super) mappable: Mappable,
}

impl Passed {
    /// Whether somebody has it, or is being given it.
    pub(super) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.mappable.memory) > 1
    }
}

/// All that can be passed on, and why the rest cannot.
pub(super) fn pass_on(picture: &Picture, config: &ForwardConfig) -> (Vec<Passed>, Vec<String>) {
    let (mut passed, mut left_out) = (Vec::new(), Vec::new());
    for (number, region) in picture.mappable() {
        let found = if config.pass_on_memory {
            mappable(picture, number, region, config)
        } else {
            Err(String::from("not passed on in this mode"))
        };
        match found {
            Ok((consumers, mappable)) => passed.push(Passed { region: consumers, mappable }),
            Err(why) => left_out.push(format!("memory of region {number}: {why}")),
        }
    }
    (passed, left_out)
}

/// The memory of a region, and how consumers number that.
fn mappable(
    picture: &Picture,
    number: u32,
    region: &Region,
    config: &ForwardConfig,
) -> Result<(u32, Mappable), String> {
    let (consumers, size) = place(picture, number).ok_or("there is no such region")?;
    if size != region.info.size {
        return Err(String::from("the region's size is no power of two"));
    }
    if region.info.offset != 0 {
        return Err(String::from("it does not begin where its file does"));
    }
    let areas = areas(region)?;
    let file = region.fd.as_ref().ok_or("there is no file")?;
    let file = file.try_clone().map_err(|error| error.to_string())?;
    match Memory::foreign("back-end", file, size, config.accept_unsealed) {
        Ok(memory) => Ok((consumers, Mappable { memory, areas })),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Err(String::from(
            "its file is not sealed against shrinking, which would end whoever has it mapped",
        )),
        Err(error) => Err(format!("its file is not what it should be: {error}")),
    }
}

/// How consumers number the region, and its size as they see it.
fn place(picture: &Picture, number: u32) -> Option<(u32, u64)> {
    if let Some(bar) = u8::try_from(number).ok().and_then(BarIndex::new) {
        return picture.window(bar).map(|window| (number, window.size));
    }
    let nth = picture.own().iter().position(|own| own.number == number)?;
    let own = picture.own().get(nth)?;
    let consumers = pci_core::FIRST_DEVICE_REGION.saturating_add(u32::try_from(nth).ok()?);
    Some((consumers, own.region.size))
}

/// The areas, in ascending order, if they are pages of the region and do not overlap.
fn areas(region: &Region) -> Result<Vec<Area>, String> {
    let page = rustix::param::page_size() as u64;
    let mut areas = region.mappable();
    areas.sort_by_key(|area| area.offset);
    let mut free = 0;
    for area in &areas {
        let end = area.offset.checked_add(area.size).filter(|end| *end <= region.info.size);
        let whole = area.size > 0 && area.offset.is_multiple_of(page) && area.size.is_multiple_of(page);
        match end {
            Some(end) if whole && area.offset >= free => free = end,
            _ => return Err(String::from("its areas are no pages of it, or overlap")),
        }
    }
    let area = |area: &vfio_user::codec::SparseArea| Area {
        offset: area.offset,
        size: area.size,
        holds: Holds::Doorbells,
    };
    Ok(areas.iter().map(area).collect())
}
