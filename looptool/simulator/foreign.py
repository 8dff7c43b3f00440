"""Everyday needs that ask for a tool: told to an assistant which has other ones, they have no answer."""

from random import Random

from looptool.simulator.ask import Ask, Slot
from looptool.simulator.kinds import BY_NAME, kind_of
from looptool.simulator.values import draw_for_kind

_NEEDS = """book a table at a restaurant|city,date,guests
order groceries for delivery|product,address
find a plumber nearby|city,date
renew my library card|username
check the tide times at the beach|city,date
reserve a rental car|city,date,days
print a photo album|title
get the opening hours of the museum|city,date
look up the bus timetable|origin,destination
schedule a haircut appointment|date,time
file my tax return|date
order a taxi to the airport|address,time
find a babysitter for the evening|date,time
compare electricity tariffs|city
apply for a parking permit|address
buy concert tickets|artist,date
sign up for a pottery course|city,date
report a broken street light|address
get a quote for car insurance|person
repair my washing machine|address,date
find a vet that is open now|city
rent a bike for the weekend|city,days
pay my phone bill|phone,amount
order a birthday cake|title,date
find a dance partner|city
get the lottery numbers|date
book a massage|date,time
ship a parcel abroad|country,weight
check the pollen count|city
find a parking space downtown|city,hours
look up the football league table|country
register my dog with the council|name,city
get directions to the stadium|city
order new contact lenses|date
reset the password of my router|name
measure the air quality in my bedroom|room
calculate my mortgage payment|amount,years
download the user manual of my oven|product
find a gym with a swimming pool|city
subscribe to a magazine|title,address
book a campsite by the lake|date,nights
change the tyres of my car|date
get the horoscope for today|name
design a logo for my bakery|name,color
check my blood test results|person,date
invite the neighbours to a barbecue|date,time
find a second-hand sofa|city,budget
cancel my gym membership|date
order firewood for the winter|address,amount
look up the ferry schedule|origin,destination,date
charge my electric scooter|address
find a piano teacher|city
buy a fishing licence|country,days
tell me the lap record of the race track|country
water the plants on my balcony|date,minutes
get a visa for my trip|country,date
count the steps I walked today|date
identify the bird that I heard|topic
find a quiet place to study|city
organise a treasure hunt|city,date"""
_NUMBERS = {"guests": (2, 9), "days": (2, 12), "nights": (2, 12), "hours": (2, 8), "weight": (1, 20),
            "years": (5, 30), "minutes": (5, 45), "amount": (10, 900), "budget": (50, 900)}  # fmt: skip
FOREIGN = tuple(
    (action, tuple(slots.split(",")))
    for action, slots in (line.split("|") for line in _NEEDS.split("\n"))
)


def draw_foreign(rng: Random) -> Ask:
    """A need of some everyday domain, with its values."""
    action, names = rng.choice(FOREIGN)
    slots = []
    for name in names:
        if name in _NUMBERS:
            slots.append(Slot(name, rng.randint(*_NUMBERS[name])))
        else:
            kind = kind_of(name) or BY_NAME["name"]
            slots.append(Slot(name, draw_for_kind(kind, rng)))
    return Ask(action, tuple(slots[: rng.randint(1, len(slots))]))
