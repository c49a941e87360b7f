//! Which function of a PE an error hits.

use contain::address_cache::{BarRange, Space};
use contain::inject::{ErrorFunction, ErrorInjection, InjectionError};
use contain::plan::FunctionId;
use contain::tree::PeFunction;
use gate::{Gate, Pass, Quiesced};
use pci_core::{BarIndex, ConfigSpace, Device, Function, Identity, ResetKind};
use pci_spec::{Bdf, ClassCode};
use std::sync::Arc;

struct Plain;

impl Device for Plain {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

const GIB: u64 = 1 << 30;

fn function(number: u16, bars: Vec<BarRange>) -> Arc<PeFunction> {
    let config = ConfigSpace::builder(Identity::new(1, 1, ClassCode::NVME)).build().expect("a bare function");
    let function = Function::new("f", Gate::new("f"), Arc::new(config), Arc::new(Plain));
    let (id, address) = (FunctionId(number.into()), Bdf::from_routing_id(0, number));
    Arc::new(PeFunction { id, address, function: Arc::new(function), bars })
}

fn memory(first: u64, last: u64) -> BarRange {
    BarRange { space: Space::Memory, first, last }
}

/// One function without BARs, one with 64 KiB of memory at 3 GiB, one with 4 KiB at 8 GiB.
fn pe() -> Vec<Arc<PeFunction>> {
    let low = memory(3 * GIB, 3 * GIB + 0xffff);
    let high = memory(8 * GIB, 8 * GIB + 0xfff);
    vec![function(0, Vec::new()), function(1, vec![low]), function(2, vec![high])]
}

fn hit(width: u32, function: ErrorFunction, address: u64, mask: u64) -> Result<u64, InjectionError> {
    let error = ErrorInjection::from_numbers(width, function as u32, address, mask).expect("valid numbers");
    error.hits(&pe()).map(|function| function.id.0)
}

const LOAD: ErrorFunction = ErrorFunction::LoadMemoryData;

#[test]
fn an_error_of_an_address_hits_the_function_that_has_it() {
    assert_eq!(hit(1, LOAD, 8 * GIB + 0x10, u64::MAX), Ok(2));
    assert_eq!(hit(0, LOAD, 3 * GIB + 0xffff, u64::MAX), Ok(1));
    assert_eq!(hit(1, LOAD, 3 * GIB + 0x1_0000, u64::MAX), Err(InjectionError::NoAddress));
}

#[test]
fn bits_that_the_mask_leaves_out_do_not_count() {
    assert_eq!(hit(1, LOAD, 8 * GIB + 0x1_2345, !0xf_ffff), Ok(2));
    assert_eq!(hit(1, LOAD, 8 * GIB + 0x1_2345, !0xffff), Err(InjectionError::NoAddress));
}

#[test]
fn without_a_mask_any_address_will_do() {
    assert_eq!(hit(0, LOAD, 0, 0), Ok(1), "the first that has memory");
    assert_eq!(hit(0, ErrorFunction::DmaWriteTarget, 0, 0), Ok(0), "the first of all");
    assert_eq!(hit(0, ErrorFunction::LoadConfigData, 0, 0), Ok(0));
}

#[test]
fn accesses_that_no_function_of_the_pe_has_are_unsupported() {
    assert_eq!(hit(0, ErrorFunction::StoreIoData, 0, 0), Err(InjectionError::Unsupported));
}

#[test]
fn an_address_wider_than_its_type_is_unsupported() {
    assert_eq!(hit(0, LOAD, 8 * GIB, u64::MAX), Err(InjectionError::Unsupported));
}

#[test]
fn in_a_pe_without_functions_nothing_is_hit() {
    let error = ErrorInjection::from_numbers(0, 12, 0, 0).expect("valid numbers");
    assert_eq!(error.hits(&[]).map(|function| function.id.0), Err(InjectionError::NoAddress));
}
