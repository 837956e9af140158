"""Bytes and messages of a small program, written down by hand."""

import types

import pytest

from vidact.training import chips, messages, roofline
from vidact.training.flops import Work
from vidact.training.hlo import Module
from vidact.training.traffic import traffic

# A loop of 5 rounds over layers of [8, 128] bfloat16 (2 KiB), each of which gathers a kernel.
PROGRAM = """HloModule jit_step, num_partitions=4

%take (p0: bf16[5,8,128], p1: s32[]) -> bf16[8,128] {
  %p0 = bf16[5,8,128]{2,1,0:T(8,128)(2,1)} parameter(0)
  %p1 = s32[] parameter(1)
  %z = s32[] constant(0)
  %slice = bf16[1,8,128]{2,1,0:T(8,128)(2,1)} dynamic-slice(%p0, %p1, %z, %z), dynamic_slice_sizes={1,8,128}
  ROOT %b = bf16[8,128]{1,0:T(8,128)(2,1)} bitcast(%slice)
}

%put (p0: bf16[5,8,128], p1: bf16[8,128], p2: s32[]) -> bf16[5,8,128] {
  %p0 = bf16[5,8,128]{2,1,0:T(8,128)(2,1)} parameter(0)
  %p1 = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(1)
  %p2 = s32[] parameter(2)
  %z = s32[] constant(0)
  %r = bf16[1,8,128]{2,1,0:T(8,128)(2,1)} bitcast(%p1)
  ROOT %u = bf16[5,8,128]{2,1,0:T(8,128)(2,1)} dynamic-update-slice(%p0, %r, %p2, %z, %z)
}

%body (t: (s32[], bf16[5,8,128], bf16[5,8,128])) -> (s32[], bf16[5,8,128], bf16[5,8,128]) {
  %t = (s32[], bf16[5,8,128]{2,1,0:T(8,128)(2,1)}, bf16[5,8,128]{2,1,0:T(8,128)(2,1)}) parameter(0)
  %i = s32[] get-tuple-element(%t), index=0
  %a = bf16[5,8,128]{2,1,0:T(8,128)(2,1)} get-tuple-element(%t), index=1
  %o = bf16[5,8,128]{2,1,0:T(8,128)(2,1)} get-tuple-element(%t), index=2
  %x = bf16[8,128]{1,0:T(8,128)(2,1)} fusion(%a, %i), kind=kLoop, calls=%take
  %g = bf16[32,128]{1,0:T(8,128)(2,1)S(1)} all-gather(%x), channel_id=1, replica_groups=mesh['axis_0'=2,'axis_1'=2] {'axis_0','axis_1'}, dimensions={0}, use_global_device_ids=true
  %n = bf16[5,8,128]{2,1,0:T(8,128)(2,1)} fusion(%o, %x, %i), kind=kLoop, calls=%put
  ROOT %r = (s32[], bf16[5,8,128]{2,1,0:T(8,128)(2,1)}, bf16[5,8,128]{2,1,0:T(8,128)(2,1)}) tuple(%i, %a, %n)
}

%cond (t: (s32[], bf16[5,8,128], bf16[5,8,128])) -> pred[] {
  %t = (s32[], bf16[5,8,128]{2,1,0:T(8,128)(2,1)}, bf16[5,8,128]{2,1,0:T(8,128)(2,1)}) parameter(0)
  %i = s32[] get-tuple-element(%t), index=0
  %n = s32[] constant(5)
  ROOT %c = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (a: bf16[5,8,128], b: f32[3,72]) -> f32[3,72] {
  %a = bf16[5,8,128]{2,1,0:T(8,128)(2,1)} parameter(0)
  %b = f32[3,72]{1,0:T(8,128)} parameter(1)
  %z = s32[] constant(0)
  %t = (s32[], bf16[5,8,128]{2,1,0:T(8,128)(2,1)}, bf16[5,8,128]{2,1,0:T(8,128)(2,1)}) tuple(%z, %a, %a)
  %w = (s32[], bf16[5,8,128]{2,1,0:T(8,128)(2,1)}, bf16[5,8,128]{2,1,0:T(8,128)(2,1)}) while(%t), condition=%cond, body=%body
  %s = (f32[3,72]{1,0:T(8,128)S(1)}, f32[3,72]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%b)
  %d = f32[3,72]{1,0:T(8,128)S(1)} copy-done(%s)
  ROOT %e = f32[3,72]{1,0:T(8,128)} all-reduce(%d), channel_id=2, replica_groups={{0,2},{1,3}}, to_apply=%add
}
"""  # noqa: E501
SCATTER = """
%all-reduce-scatter.1 (p: f32[8,128]) -> f32[2,128] {
  %p = f32[8,128]{1,0:T(8,128)} parameter(0)
  %r = f32[8,128]{1,0:T(8,128)} all-reduce(%p), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%add
  %z = s32[] constant(0)
  ROOT %s = f32[2,128]{1,0:T(2,128)} dynamic-slice(%r, %z, %z), dynamic_slice_sizes={2,128}
}

ENTRY %main (a: f32[8,128], b: f32[8,128]) -> (f32[2,128], f32[2,128]) {
  %a = f32[8,128]{1,0:T(8,128)} parameter(0)
  %x = f32[2,128]{1,0:T(2,128)} fusion(%a), kind=kCustom, calls=%all-reduce-scatter.1
  ROOT %y = f32[2,128]{1,0:T(2,128)} fusion(%a), kind=kCustom, calls=%all-reduce-scatter.1
}
"""  # noqa: E501
LAYER, PADDED = 8 * 128 * 2, 8 * 128 * 4  # f32[3,72] fills a tile of 8 x 128
LOOP = (LAYER + LAYER) + (LAYER + 0) + (LAYER + LAYER)  # slice, gather to the chip, update


def test_traffic_counts_rounds_slices_padding_and_what_stays_on_the_chip():
    moved = traffic(Module(PROGRAM))
    scalars = 5 * 2 * 4  # both fusions read the round's number
    assert moved == 5 * LOOP + scalars + PADDED + PADDED  # a copy in, a sum out


def test_messages_count_rounds_and_know_their_groups():
    gather, total = messages.messages(Module(PROGRAM))
    assert (gather.kind, gather.size, gather.times) == ("all-gather", 3 * LAYER, 5)
    assert gather.groups == ((0, 1, 2, 3),)
    assert (total.kind, total.size, total.times) == ("all-reduce", PADDED, 1)
    assert total.groups == ((0, 2), (1, 3))


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("replica_groups=[2,2]<=[4], a", ((0, 1), (2, 3))),
        ("replica_groups=[2,2]<=[2,2]T(1,0), a", ((0, 2), (1, 3))),
        ("replica_groups=mesh['a'=2,'b'=2] {'a'}, b", ((0, 2), (1, 3))),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'a'}, b", ((0, 1), (2, 3))),
        ("source_target_pairs={{0,1},{1,0}}", ((0, 1), (1, 0))),
    ],
)
def test_groups_in_every_notation(text, groups):
    assert messages._groups(text) == groups


@pytest.mark.parametrize(("slices", "network"), [(1, "ici"), (2, "dcn")])
def test_the_longest_need_bounds_the_step(slices, network):
    chip = chips.Chip(1e12, 1e9, 1e6, 2e4, 1e3, sides=2)
    places = ((0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0))
    devices = [
        types.SimpleNamespace(coords=place, slice_index=number * slices // 4)
        for number, place in enumerate(places)
    ]
    found = roofline.bound(Module(PROGRAM), Work(4e11, 8e11), chip, devices)
    assert (found.compute, found.ideal) == (0.2, 0.1)
    assert found.sent == 5 * 3 * LAYER + PADDED
    if slices == 1:  # all four talk over both sides of the square, two of them over one
        assert found.ici == 5 * 3 * LAYER / 2e4 + PADDED / 1e4
    else:
        assert found.dcn == found.sent / 1e3
    assert found.limit == network and found.mfu == found.ideal / getattr(found, network)


@pytest.mark.parametrize("wrong", ["v5e:4", "v5e-16", "v7x:4x4", "v5p:4x4", "v5e:0x4", "v5e"])
def test_no_topologies_are_named(wrong):
    with pytest.raises(chips.UserError, match=f"--topology {wrong}: "):
        chips.chip_of(wrong)


@pytest.mark.parametrize(
    ("results", "moved"),
    [  # a copy's destination stands first, a slice's behind its operand
        ("(f32[8,128]{1,0:T(8,128)S(1)}, f32[8,128]{1,0:T(8,128)}, u32[]) copy-start(%a)", 1),
        ("(f32[8,128]{1,0:T(8,128)}, f32[8,128]{1,0:T(8,128)S(1)}, u32[]) copy-start(%k)", 1),
        ("(f32[8,128]{1,0:T(8,128)}, f32[8,128]{1,0:T(8,128)}, u32[]) copy-start(%a)", 2),
        ("((f32[8,128]{1,0}), f32[4,128]{1,0:T(4,128)S(1)}, u32[]) slice-start(%a)", 0.5),
    ],
)
def test_what_is_fetched_or_put_away_beside_other_kernels(results, moved):
    text = f"""
ENTRY %main (a: f32[8,128], k: f32[8,128]) -> f32[8,128] {{
  %a = f32[8,128]{{1,0:T(8,128)}} parameter(0)
  %k = f32[8,128]{{1,0:T(8,128)S(1)}} parameter(1)
  ROOT %s = {results}
}}
"""
    assert traffic(Module(text)) == moved * 8 * 128 * 4


@pytest.mark.parametrize(
    "branches",
    [
        "branch_computations={%skip, %take}",
        "branch_computations={%take, %skip}",
        "true_computation=%take, false_computation=%skip",
    ],
)
def test_a_condition_costs_what_its_longer_branch_does(branches):
    text = f"""
%skip (p: f32[8,128]) -> f32[8,128] {{
  ROOT %p = f32[8,128]{{1,0:T(8,128)}} parameter(0)
}}

%take (p: f32[8,128]) -> f32[8,128] {{
  %p = f32[8,128]{{1,0:T(8,128)}} parameter(0)
  ROOT %n = f32[8,128]{{1,0:T(8,128)}} negate(%p)
}}

ENTRY %main (c: pred[], a: f32[8,128]) -> f32[8,128] {{
  %c = pred[] parameter(0)
  %a = f32[8,128]{{1,0:T(8,128)}} parameter(1)
  ROOT %r = f32[8,128]{{1,0:T(8,128)}} conditional(%c, %a, %a), {branches}
}}
"""
    assert traffic(Module(text)) == 2 * 8 * 128 * 4


def test_a_sum_of_which_each_keeps_a_part_sends_half_of_an_all_reduce():
    found = messages.messages(Module(SCATTER))
    assert [(m.kind, m.size) for m in found] == [("reduce-scatter", 8 * 128 * 4 * 3 / 4)] * 2


def test_a_fusion_within_a_fusion_reads_and_writes_parts_too():
    text = """
%part (p: f32[5,8,128], i: s32[]) -> f32[1,8,128] {
  %p = f32[5,8,128]{2,1,0:T(8,128)} parameter(0)
  %i = s32[]{:T(128)S(6)} parameter(1)
  %z = s32[] constant(0)
  ROOT %s = f32[1,8,128]{2,1,0:T(8,128)} dynamic-slice(%p, %i, %z, %z), dynamic_slice_sizes={1,8,128}
}

%put (p: f32[5,8,128], u: f32[1,8,128], i: s32[]) -> f32[5,8,128] {
  %p = f32[5,8,128]{2,1,0:T(8,128)} parameter(0)
  %u = f32[1,8,128]{2,1,0:T(8,128)} parameter(1)
  %i = s32[]{:T(128)S(6)} parameter(2)
  %z = s32[] constant(0)
  ROOT %d = f32[5,8,128]{2,1,0:T(8,128)} dynamic-update-slice(%p, %u, %i, %z, %z)
}

%outer (p: f32[5,8,128], q: f32[5,8,128], i: s32[]) -> f32[5,8,128] {
  %p = f32[5,8,128]{2,1,0:T(8,128)} parameter(0)
  %q = f32[5,8,128]{2,1,0:T(8,128)} parameter(1)
  %i = s32[]{:T(128)S(6)} parameter(2)
  %x = f32[1,8,128]{2,1,0:T(8,128)} fusion(%p, %i), kind=kLoop, calls=%part
  ROOT %y = f32[5,8,128]{2,1,0:T(8,128)} fusion(%q, %x, %i), kind=kLoop, calls=%put
}

ENTRY %main (a: f32[5,8,128], b: f32[5,8,128], i: s32[]) -> f32[5,8,128] {
  %a = f32[5,8,128]{2,1,0:T(8,128)} parameter(0)
  %b = f32[5,8,128]{2,1,0:T(8,128)} parameter(1)
  %i = s32[]{:T(128)S(6)} parameter(2)
  ROOT %f = f32[5,8,128]{2,1,0:T(8,128)} fusion(%a, %b, %i), kind=kOutput, calls=%outer
}
"""  # noqa: E501
    assert traffic(Module(text)) == 2 * 8 * 128 * 4  # a slice in, a slice out


def test_a_sum_of_which_each_keeps_a_part_is_read_whole_and_written_in_part():
    moved = traffic(Module(SCATTER))
    assert moved == 2 * (8 * 128 * 4 + 2 * 128 * 4)


SEND = """
ENTRY %main (a: bf16[16,8,128]) -> token[] {
  %a = bf16[16,8,128]{2,1,0:T(8,128)(2,1)} parameter(0)
  %t = token[] after-all()
  %s = (bf16[16,8,128]{2,1,0:T(8,128)(2,1)}, u32[], token[]) send(%a, %t), channel_id=12, is_host_transfer=true, frontend_attributes={_xla_host_transfer_handler_name="xla_megascale_runtime",_xla_megascale_reduce_operation="SUM",_xla_megascale_target="{1,2}x{0:255}",_xla_megascale_transfer_type="ALL_REDUCE"}
  ROOT %d = token[] send-done(%s), channel_id=12, is_host_transfer=true
}
"""  # noqa: E501


@pytest.mark.parametrize(
    ("kind", "target", "slices", "share"),
    [
        ("ALL_REDUCE", '"{1,2}x{0:255}"', 2, 1),
        ("ALL_REDUCE", '"{1,2,3,4}x{0:255}"', 4, 2 * 3 / 4),
        ("ALL_GATHER", '"{1,2,3,4}x{0:255}"', 4, 3),
        ("ONE_TO_ONE", "{{100000->200255}}", 2, 1),
    ],
)
def test_what_goes_to_another_slice_is_sent_by_the_host(kind, target, slices, share):
    text = SEND.replace("ALL_REDUCE", kind).replace('"{1,2}x{0:255}"', target)
    (message,) = messages.messages(Module(text))
    assert message.kind == kind.lower().replace("_", "-")
    assert (message.slices, message.size) == (slices, share * 16 * 8 * 128 * 2)


def test_what_goes_to_another_slice_takes_their_network():
    chip = chips.Chip(1e12, 1e9, 1e6, 2e4, 1e3, sides=2)
    found = roofline.bound(Module(SEND), Work(1.0, 1.0), chip, [None] * 8)
    assert (found.ici, found.dcn) == (0, 16 * 8 * 128 * 2 / 1e3)


def test_nobody_sends_to_slices_that_are_not_named():
    with pytest.raises(ValueError, match="to whom it is sent is not known"):
        messages.messages(Module(SEND.replace("{1,2}x{0:255}", "")))
