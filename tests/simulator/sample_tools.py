"""Tools for the tests of the scripted teacher: an everyday catalogue, and shapes that nobody likes."""

from typing import Any

Json = dict[str, Any]


def tool(
    name: str,
    description: str,
    required: Json,
    optional: Json | None = None,
    returns: Json | None = None,
) -> Json:
    """An OpenAI-style specification from properties by name."""
    function: Json = {
        "name": name,
        "description": description,
        "parameters": {
            "type": "object",
            "properties": {**required, **(optional or {})},
            "required": list(required),
        },
    }
    if returns is not None:
        function["returns"] = {"type": "object", "properties": returns, "required": list(returns)}
    return {"type": "function", "function": function}


def tool_of(row: Json) -> Json:
    """The specification of a catalogue row."""
    function = {key: row[key] for key in ("name", "description", "parameters")}
    return {"type": "function", "function": {**function, "returns": row.get("output")}}


S: Json = {"type": "string"}
I: Json = {"type": "integer", "minimum": 1, "maximum": 30}  # noqa: E741
N: Json = {"type": "number"}
B: Json = {"type": "boolean"}
D: Json = {"type": "string", "format": "date"}
T: Json = {"type": "string", "format": "time"}
L: Json = {"type": "array", "items": {"type": "string"}}


def one_of(*values: Any) -> Json:
    return {"enum": list(values)}


EVERYDAY: list[Json] = [
    tool(
        "get_weather_forecast",
        "Get the weather forecast for a city.",
        {"city": S},
        {"days": I, "units": one_of("celsius", "fahrenheit")},
        {"condition": S, "temperature": N},
    ),
    tool(
        "search_flights",
        "Search for flights between two cities.",
        {"origin": S, "destination": S, "departure_date": D},
        {"passengers": I, "nonstop": B},
        {"flight_id": S, "price": N},
    ),
    tool(
        "book_flight",
        "Book a flight for a passenger.",
        {"flight_id": S, "passenger_name": S},
        {"seat": one_of("window", "aisle", "middle")},
        {"booking_id": S},
    ),
    tool("cancelBooking", "Cancels a booking.", {"bookingId": S}, {"reason": S}),
    tool(
        "send_email",
        "Send an email to a recipient.",
        {"recipient": {"type": "string", "format": "email"}, "subject": S, "body": S},
        {"cc": L},
    ),
    tool(
        "create_event",
        "Create a calendar event.",
        {"title": S, "date": D, "start_time": T},
        {"duration_minutes": I, "attendees": L, "location": S},
        {"event_id": S},
    ),
    tool("delete_event", "Delete a calendar event.", {"event_id": S}),
    tool(
        "convert_currency",
        "Convert an amount of money between currencies.",
        {"amount": N, "from_currency": S, "to_currency": S},
        None,
        {"result": N},
    ),
    tool(
        "set_thermostat",
        "Set the thermostat in a room.",
        {"room": S, "temperature": N},
        {"mode": one_of("heat", "cool", "auto")},
    ),
    tool(
        "find_recipes",
        "Find recipes with given ingredients.",
        {"ingredients": L},
        {"cuisine": S, "max_minutes": I, "vegetarian": B},
    ),
    tool(
        "translate-text",
        "Translate a text into another language.",
        {"text": S, "target_language": S},
        {"source_language": S},
    ),
    tool("play_music", "Play a song on a speaker.", {"song": S}, {"artist": S, "volume": I}),
    tool("get_stock_price", "Get the current price of a stock.", {"symbol": S}, {"currency": S}),
    tool("track_package", "Track a package by its tracking number.", {"tracking_number": S}),
    tool(
        "register_patient",
        "Register a new patient.",
        {
            "patient": {
                "type": "object",
                "properties": {
                    "name": S,
                    "birth_date": D,
                    "address": {
                        "type": "object",
                        "properties": {"city": S, "street": S},
                        "required": ["city"],
                    },
                },
                "required": ["name", "birth_date"],
            }
        },
        {"phone": S},
    ),
    tool(
        "list_tasks",
        "List open tasks.",
        {},
        {"project": S, "priority": one_of(1, 2, 3), "limit": I},
    ),
    tool(
        "create_reminder",
        "Create a reminder.",
        {"text": S, "date": D},
        {"time": T, "repeat": one_of("daily", "weekly", "monthly")},
        {"reminder_id": S},
    ),
    tool("delete_reminder", "Delete a reminder.", {"reminder_id": S}),
    tool("get_exchange_rate", "Get the exchange rate of two currencies.", {"base": S, "quote": S}),
    tool(
        "reserve_table",
        "Reserve a table at a restaurant.",
        {"restaurant": S, "guests": I, "date": D, "time": T},
        {"notes": S},
        {"reservation_id": S},
    ),
]

NASTY: list[Json] = [
    tool("ping", "", {}),
    {"type": "function", "function": {"name": "bare"}},
    {
        "type": "function",
        "function": {
            "name": "read_flow_runs_flow_runs_filter_post",
            "description": "Read Flow Runs\n\nQuery for flow runs.",
            "parameters": {
                "type": "object",
                "properties": {
                    "sort": {"$ref": "#/$defs/Sort"},
                    "limit": {"type": "integer"},
                    "flows": {"anyOf": [{"$ref": "#/$defs/Filter"}, {"type": "null"}]},
                },
                "$defs": {
                    "Sort": {"enum": ["ID_DESC", "START_TIME_ASC"]},
                    "Filter": {
                        "type": "object",
                        "properties": {
                            "operator": {"enum": ["and_", "or_"]},
                            "inner": {"$ref": "#/$defs/Filter"},
                        },
                    },
                },
            },
        },
    },
    tool(
        "levels",
        "Set the levels.",
        {
            "level": {"type": "integer", "enum": [1, 2, 30]},
            "flags": {"type": "array", "items": {"enum": [4, 5, 6]}},
        },
    ),
    tool("获取天气", "获取城市的天气", {"城市": S, "天数": I}),
    tool("année_été", "Trouve une date", {"numéro": I, "où": S}),
    tool("sixty", "Create a very wide record.", {f"field_{n}": S for n in range(60)}),
    tool(
        "odd",
        'Do: "odd" things; (really)',
        {
            "$top": I,
            "filter[name]": S,
            "X-Request-ID": S,
            "-": S,
            "true": B,
            "nullable": {"type": ["null", "string"]},
            "any": {},
            "const": {"const": 7},
        },
    ),
    tool(
        "deep",
        "Make deep things.",
        {
            "a": {
                "type": "object",
                "properties": {
                    "b": {
                        "type": "object",
                        "properties": {
                            "c": {
                                "type": "object",
                                "properties": {
                                    "d": {
                                        "type": "object",
                                        "properties": {"e": S},
                                        "required": ["e"],
                                    }
                                },
                                "required": ["d"],
                            }
                        },
                        "required": ["c"],
                    }
                },
                "required": ["b"],
            }
        },
    ),
    tool(
        "rows",
        "Store rows.",
        {
            "rows": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {"x": N, "y": {"type": "array", "items": B}},
                    "required": ["x"],
                },
            }
        },
    ),
    tool(
        "patterned",
        "Check a code.",
        {
            "plate": {"type": "string", "pattern": "^[A-Z]{2}\\d{3,4}$"},
            "broken": {"type": "string", "pattern": "(["},
            "short": {"type": "string", "maxLength": 3},
            "long": {"type": "string", "minLength": 40},
            "step": {"type": "integer", "multipleOf": 5, "minimum": 10},
        },
    ),
    tool(
        "broken_schema",
        "Use a broken schema.",
        {"x": {"type": "strange"}, "y": {"$ref": "#/none"}, "z": {"anyOf": []}, "w": True},
    ),
]
