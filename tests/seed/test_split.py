"""Which tools are held out, and which partners stay together."""

from looptool.records import Split, ToolSpec, make_tool
from looptool.seed import load_catalogue, split_sides, split_tools
from looptool.seed.links import find_links, group_partners


def tool(name: str, *, needs: str = "", gives: str = "", domain: str = "d") -> ToolSpec:
    properties = {needs: {"type": "string"}} if needs else {}
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    output = {"type": "object", "properties": {gives: {}}} if gives else None
    return make_tool(name, "", parameters, output=output, domain=domain)


def test_every_tool_is_on_one_side_and_the_rate_is_kept() -> None:
    tools = load_catalogue()
    seen, unseen = split_tools(tools, 0.2, 0)
    assert len(unseen) == 12
    assert sorted(t.name for t in seen + unseen) == sorted(t.name for t in tools)
    assert [t for t in tools if t in unseen] == unseen


def test_the_split_depends_on_the_seed_and_nothing_else() -> None:
    tools = load_catalogue()
    assert split_tools(tools, 0.2, 3) == split_tools(tools, 0.2, 3)
    assert len({tuple(t.name for t in split_tools(tools, 0.2, s)[1]) for s in range(5)}) == 5


def test_training_and_its_held_out_set_share_tools_and_the_unseen_are_apart() -> None:
    seen, unseen = split_tools(load_catalogue(), 0.2, 0)
    assert split_sides(load_catalogue(), 0.2, 0) == {
        Split.TRAIN: seen,
        Split.HELDOUT_SEEN: seen,
        Split.HELDOUT_UNSEEN: unseen,
    }


def test_no_domain_gives_more_than_half_and_many_give_something() -> None:
    for seed in range(10):
        _, unseen = split_tools(load_catalogue(), 0.2, seed)
        domains = [t.domain for t in unseen]
        assert max(map(domains.count, domains)) <= 2
        assert len(set(domains)) >= 6


def test_partners_stay_on_the_same_side() -> None:
    tools = load_catalogue()
    for seed in range(10):
        _, unseen = split_tools(tools, 0.2, seed)
        for group in group_partners(tools):
            assert len({tools[n] in unseen for n in group}) == 1


def test_partners_are_parted_only_when_there_is_no_other_way() -> None:
    chain = [tool(f"t{n}", needs=f"f{n - 1}", gives=f"f{n}") for n in range(10)]
    seen, unseen = split_tools(chain, 0.3, 0)
    assert (len(seen), len(unseen)) == (7, 3)


def test_single_tool_domains_and_extreme_rates_work() -> None:
    tools = [tool(f"t{n}", domain=str(n)) for n in range(5)]
    assert len(split_tools(tools, 0.4, 0)[1]) == 2
    assert split_tools(tools, 0.0, 0) == (tools, [])
    assert split_tools([], 0.5, 0) == ([], [])


def test_links_need_the_same_name_domain_and_a_required_parameter() -> None:
    tools = [
        tool("make", gives="id"),
        tool("use", needs="id"),
        tool("elsewhere", needs="id", domain="other"),
        tool("unrelated", needs="name"),
    ]
    assert find_links(tools) == [(0, 1)]


def test_fields_of_rows_feed_as_well() -> None:
    rows = {"type": "array", "items": {"type": "object", "properties": {"id": {}}}}
    listing = make_tool("list", "", {"type": "object", "properties": {}}, output=rows, domain="d")
    assert find_links([listing, tool("use", needs="id")]) == [(0, 1)]
