"""Word lists behind the random tools: verbs by meaning, nouns, parameter names, values.

Left out on purpose: any list of whole tools. Tools are drawn at random from these words, so the
model cannot know one by heart and has to read its context.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


VERBS: tuple[tuple[str, ...], ...] = (
    ("get", "fetch", "show", "retrieve", "read"),
    ("check", "inspect", "look up", "view"),
    ("find", "search", "look for", "locate"),
    ("list", "enumerate", "show all"),
    ("create", "add", "make", "generate"),
    ("delete", "remove", "erase"),
    ("cancel", "call off", "revoke"),
    ("update", "change", "edit", "modify"),
    ("set", "adjust", "configure"),
    ("send", "forward", "deliver"),
    ("share", "publish", "post"),
    ("book", "reserve"),
    ("buy", "order", "purchase"),
    ("pay", "settle"),
    ("transfer", "move"),
    ("start", "begin", "launch", "run"),
    ("stop", "end", "halt"),
    ("open", "unlock"),
    ("close", "lock"),
    ("play", "stream"),
    ("pause", "hold"),
    ("convert", "transform"),
    ("calculate", "compute", "work out"),
    ("translate", "render"),
    ("download", "export", "save"),
    ("upload", "import", "load"),
    ("schedule", "plan", "arrange"),
    ("track", "follow", "trace"),
    ("rate", "review", "score"),
    ("compare", "match", "rank"),
    ("enable", "turn on", "activate"),
    ("disable", "turn off", "deactivate"),
    ("estimate", "predict", "forecast"),
    ("summarize", "sum up"),
    ("register", "sign up", "enroll"),
    ("assign", "allocate"),
    ("approve", "accept", "confirm"),
    ("reject", "decline", "refuse"),
    ("log", "record", "note"),
    ("subscribe", "join"),
)

NOUNS: tuple[str, ...] = _words(
    """weather forecast temperature climate rain storm event meeting calendar appointment reminder
    task project note document file folder page report invoice bill receipt payment account
    balance card loan budget expense transaction bank currency exchange stock share price quote
    market product item order cart basket delivery shipment package parcel shop store coupon
    discount gift refund return flight hotel room train ticket bus car taxi ride trip tour route
    map place restaurant table menu meal recipe food drink grocery song album artist playlist music
    radio podcast video movie film show series book story article news blog post comment message
    mail email inbox draft contact friend person user member profile group team channel call phone
    number text photo picture image gallery camera light lamp door window alarm heater thermostat
    fan oven vacuum speaker television device sensor scene robot garden plant pet dog cat doctor
    patient prescription medicine symptom workout exercise run step sleep diet calorie weight
    health insurance policy claim school course lesson class teacher student exam grade homework
    word sentence language dictionary definition synonym unit measure distance time timer clock
    zone date holiday birthday wedding party guest invitation ticket seat concert museum gallery
    park beach city country region street address house apartment property tenant rent lease
    contract lawyer job salary employee candidate interview department company supplier customer
    lead campaign survey poll vote form answer question issue bug branch build server database
    backup log password key token domain website link bookmark search query result summary
    translation subtitle game match league player tournament vehicle engine tire fuel charger
    parking garage bridge tunnel port ship cruise ferry airport gate luggage passport visa border
    rocket satellite planet star moon lake river mountain forest trail farm crop tree flower
    seed tool machine factory warehouse inventory stock supply material metal wood fabric color
    pattern shape font logo brand design template slide chart graph metric score rating review
    subscription plan membership license warranty repair service request agent session device
    quiz badge reward point level stage deck puzzle model sample batch cluster node queue"""
)

ADJECTIVES: tuple[str, ...] = _words(
    """new old daily weekly monthly annual local global public private personal shared open closed
    active pending recent current next last best cheap fast slow long short small large smart
    digital virtual live mobile home office travel family business medical sports main spare
    hidden green blue red white black silver golden"""
)

EXTRAS: tuple[str, ...] = (
    "in the system",
    "for the user",
    "by reference",
    "from the archive",
    "in the app",
    "for a customer",
    "on the server",
    "of the company",
    "in the database",
    "at home",
    "for the team",
    "in a city",
    "on a given day",
    "from a list",
    "with details",
    "for a trip",
)

PARAMETERS: dict[str, tuple[str, ...]] = {
    kind: _split(names)
    for kind, names in (
        (
            "city",
            "city, location, place, destination, origin, town, region, area, country",
        ),
        (
            "date",
            "date, start date, end date, due date, day, check in, check out, deadline, departure "
            "date, return date",
        ),
        (
            "time",
            "time, start time, end time, at, begin, wake time, pickup time",
        ),
        (
            "name",
            "name, recipient, contact, guest, customer, author, artist, host, owner, user, "
            "person, driver, patient, to, from, assignee",
        ),
        (
            "email",
            "email, to, address, sender, reply to, email address, recipient",
        ),
        (
            "id",
            "order id, account id, user id, booking id, event id, id, reference, code, ticket, "
            "product id, item id, room id, flight id, message id, tracking number, device id",
        ),
        (
            "digits",
            "zip code, phone, phone number, account, pin, card number, serial",
        ),
        (
            "text",
            "title, message, subject, note, query, body, topic, comment, description, text, "
            "summary, content, keyword, reason",
        ),
        (
            "word",
            "category, product, item, brand, genre, color, language, playlist, song, device, "
            "room, model, type, symbol, source, target, department, restaurant, hotel, movie, "
            "label, folder, file",
        ),
        (
            "integer",
            "days, count, limit, quantity, guests, nights, year, level, minutes, hours, size, "
            "page, duration, volume, temperature, seats, people, number, brightness, age, party "
            "size, max results",
        ),
        (
            "number",
            "amount, price, weight, distance, rate, budget, max price, score, value, total, "
            "height, discount, min price",
        ),
        (
            "boolean",
            "verbose, urgent, private, notify, express, repeat, dry run, public, silent, "
            "recurring, shuffle, gift wrap, insured",
        ),
        (
            "enum",
            "unit, units, status, priority, mode, format, class, sort, currency, type, scene, "
            "method, kind, state, speed",
        ),
        (
            "list",
            "tags, items, guests, attendees, cities, names, labels, ingredients, topics, members, "
            "files",
        ),
    )
}

CITIES: tuple[str, ...] = _split(
    "Paris, Rome, Berlin, Madrid, London, Vienna, Prague, Oslo, Lisbon, Dublin, Athens, Tokyo, "
    "Kyoto, Osaka, Seoul, Boston, Chicago, Denver, Miami, Austin, Seattle, Toronto, Lima, Cairo, "
    "Delhi, Mumbai, Sydney, New York, San Diego, Los Angeles, Hong Kong, Cape Town, Buenos Aires, "
    "Mexico City, Tel Aviv, New Delhi, Porto, Milan, Naples, Zurich, Geneva, Munich, Hamburg, "
    "Lyon, Nice, Oxford, Leeds, Krakow, Riga, Bergen, Malmo, Accra, Nairobi, Quito, Santiago, "
    "Havana, Perth, Auckland "
)

FIRST_NAMES: tuple[str, ...] = _words(
    """Anna Ben Clara David Emma Felix Grace Hugo Iris Jack Karin Leo Maria Noah Olga Paul Quinn
    Rosa Sam Tina Uma Victor Wendy Xander Yara Zoe Alice Bob Carol Dan Eve Frank Heidi Ivan Judy
    Mallory Nina Oscar Peggy Ravi Sofia Tom Mei Lin Omar Fatima Kenji Priya"""
)

LAST_NAMES: tuple[str, ...] = _words(
    """Smith Jones Lee Kim Garcia Brown Miller Davis Novak Rossi Weber Fischer Larsen Costa Silva
    Khan Patel Tanaka Chen Wong Moreau Dubois Walker Hall Young King Wright Hill Green Baker"""
)

SYLLABLES: tuple[str, ...] = _words(
    """ba be bi bo bu ka ke ki ko ku da de di do du fa fe fi fo ga go la le li lo lu ma me mi mo mu
    na ne ni no pa pe pi po ra re ri ro ru sa se si so su ta te ti to tu va ve vi vo za zo lan
    ren mor tal vin dor kel sun bar nor fel gam hol jin per qua sky tra wen xel yor zan ster ling
    ton ville berg ham mond dale sh ch th ck ng nd rt"""
)

OPTIONS: tuple[str, ...] = _words(
    """low medium high metric imperial celsius fahrenheit open closed pending done fast slow normal
    economy business first daily weekly monthly asc desc newest oldest cheapest best json csv pdf
    text html usd eur gbp car bus train bike walk cash card credit debit small large red green
    blue warm cool auto manual on off private public hot cold eco standard express active paused
    morning evening breakfast lunch dinner"""
)

PHRASE_WORDS: tuple[str, ...] = _words(
    """the new blue team lunch project update weekly report summer party travel plan coffee shop
    birthday cake green tea running shoes garden lamp desk chair winter jacket phone case happy
    quick question see you soon monday review budget call dentist family dinner movie night road
    trip house keys big small red silver wireless mouse paper towels fresh bread milk eggs music
    jazz rock classic piano history science space cooking health finance market news local food
    street art old town best price good morning thank you late meeting notes draft final version
    page first second order gift for my mother of our team"""
)

LINKS = ("to", "for", "from", "in", "of", "by", "at")
"""What joins two nouns in a tool's name."""
