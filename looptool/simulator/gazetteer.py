"""Names and words that the scripted teacher draws values from: data only.

Every list is one string split at `|`, at least thirty entries each, so that a value seen in training is
rarely the value of a held-out sample. Entries hold no commas and no quotes.
"""


def _split(text: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in text.split("|"))


CITIES = _split(
    """Paris|Rome|Berlin|Madrid|Lisbon|Vienna|Prague|Dublin|Oslo|Stockholm|Helsinki|Copenhagen|Warsaw
    |Budapest|Athens|Zurich|Geneva|Munich|Hamburg|Milan|Naples|Barcelona|Seville|Porto|Lyon|Marseille
    |Brussels|Antwerp|Rotterdam|Krakow|Istanbul|Cairo|Nairobi|Lagos|Cape Town|Tokyo|Osaka|Kyoto|Seoul
    |Busan|Beijing|Shanghai|Taipei|Bangkok|Hanoi|Singapore|Jakarta|Manila|Mumbai|Delhi|Sydney|Melbourne
    |Auckland|Toronto|Montreal|Vancouver|Chicago|Boston|Seattle|Denver|Austin|Miami|Dallas|Portland
    |New York|San Diego|Buenos Aires|Santiago|Lima|Bogota|Quito|Mexico City|Havana|Reykjavik"""
)
COUNTRIES = _split(
    """France|Italy|Germany|Spain|Portugal|Austria|Ireland|Norway|Sweden|Finland|Denmark|Poland|Hungary
    |Greece|Switzerland|Belgium|Netherlands|Turkey|Egypt|Kenya|Nigeria|Japan|South Korea|China|Thailand
    |Vietnam|Indonesia|India|Australia|New Zealand|Canada|Brazil|Argentina|Chile|Peru|Colombia|Mexico
    |Cuba|Iceland|Croatia"""
)
FIRST_NAMES = _split(
    """Anna|Ben|Clara|David|Elena|Felix|Grace|Hugo|Iris|Jonas|Karin|Leo|Maria|Nils|Olga|Paul|Rita|Simon
    |Tara|Umar|Vera|Walter|Yuki|Zoe|Amir|Bianca|Carlos|Diana|Emil|Fatima|George|Hana|Ivan|Julia|Kofi
    |Lina|Marco|Nora|Oscar|Petra"""
)
LAST_NAMES = _split(
    """Smith|Jones|Miller|Garcia|Rossi|Schmidt|Novak|Silva|Kim|Tanaka|Chen|Singh|Khan|Lopez|Martin
    |Dubois|Weber|Fischer|Larsen|Berg|Nielsen|Kowalski|Ivanova|Costa|Moreau|Brown|Wilson|Taylor|Clark
    |Hall|Young|King|Wright|Scott|Green|Baker|Adams|Nelson|Carter|Reed"""
)
STREETS = _split(
    """Main Street|Oak Avenue|Park Lane|Station Road|High Street|Mill Lane|Church Road|Lake Drive
    |River Street|Elm Street|Maple Avenue|Hill Road|Garden Street|Bridge Street|School Lane|Castle Street
    |Rose Lane|Cedar Court|Forest Avenue|King Street|Queen Street|Market Square|Harbour Road|Sunset Drive
    |Spring Street|Meadow Lane|Victoria Road|North Street|Pine Street|Willow Way"""
)
COMPANIES = _split(
    """Acme|Globex|Initech|Umbrella|Northwind|Contoso|Fabrikam|Bluebird|Redwood|Silverline|Greenfield
    |Sunrise Labs|Ironworks|Brightside|Clearwater|Stonebridge|Nordlys|Solaris|Quantum Foods|Riverbank
    |Oakridge|Skyline|Lighthouse|Evergreen|Pinnacle|Horizon Media|Summit Partners|Cobalt|Marigold|Tundra"""
)
PRODUCTS = _split(
    """desk lamp|wireless mouse|laptop stand|water bottle|backpack|office chair|coffee grinder|headphones
    |notebook|phone case|keyboard|toaster|rain jacket|running shoes|yoga mat|bike helmet|camping tent
    |electric kettle|wall clock|travel mug|board game|sunglasses|hair dryer|frying pan|blanket|umbrella
    |sleeping bag|power bank|table fan|vacuum cleaner"""
)
FOODS = _split(
    """tomato soup|lasagna|pancakes|chicken curry|lentil stew|caesar salad|banana bread|mushroom risotto
    |beef tacos|pumpkin pie|fried rice|apple crumble|ramen|falafel|paella|goulash|ratatouille|pad thai
    |omelette|sushi|pizza|cheesecake|hummus|gnocchi|meatballs|waffles|dumplings|chili|quiche|burrito"""
)
INGREDIENTS = _split(
    """tomatoes|onions|garlic|chicken|rice|lentils|spinach|mushrooms|eggs|butter|flour|carrots|potatoes
    |cheese|basil|lemons|ginger|chickpeas|beans|noodles|peppers|cream|honey|almonds|oats|zucchini|salmon
    |tofu|pumpkin|walnuts"""
)
CUISINES = _split(
    """Italian|Thai|Mexican|Indian|Japanese|Chinese|Greek|French|Spanish|Korean|Vietnamese|Turkish|Lebanese
    |Ethiopian|Moroccan|Peruvian|Brazilian|American|German|Polish|Portuguese|Persian|Nepalese|Cuban
    |Hawaiian|Russian|Swedish|Hungarian|Malaysian|Indonesian"""
)
LANGUAGES = _split(
    """French|German|Spanish|Italian|Portuguese|Dutch|Polish|Czech|Swedish|Danish|Norwegian|Finnish|Greek
    |Turkish|Arabic|Hebrew|Hindi|Bengali|Urdu|Thai|Vietnamese|Japanese|Korean|Chinese|Russian|Ukrainian
    |Hungarian|Romanian|Swahili|Icelandic"""
)
LANGUAGE_CODES = _split(
    "en|fr|de|es|it|pt|nl|pl|cs|sv|da|fi|el|tr|ar|he|hi|bn|ur|th|vi|ja|ko|zh|ru|uk|hu|ro|sw|is"
)
COUNTRY_CODES = _split(
    "FR|IT|DE|ES|PT|AT|IE|NO|SE|FI|DK|PL|HU|GR|CH|BE|NL|TR|EG|KE|NG|JP|KR|CN|TH|VN|IN|AU|NZ|CA|BR|US"
)
CURRENCIES = _split(
    """EUR|USD|GBP|JPY|CHF|SEK|NOK|DKK|PLN|CZK|HUF|TRY|AUD|NZD|CAD|MXN|BRL|INR|CNY|KRW|THB|SGD|HKD|ZAR
    |ILS|AED|RON|ISK|CLP|PHP"""
)
AIRPORTS = _split(
    """CDG|FCO|BER|MAD|LIS|VIE|PRG|DUB|OSL|ARN|HEL|CPH|WAW|BUD|ATH|ZRH|GVA|MUC|HAM|MXP|BCN|OPO|LYS|BRU|IST
    |CAI|NBO|CPT|HND|KIX|ICN|PEK|BKK|SIN|SYD|YYZ|ORD|BOS|SEA|JFK"""
)
SYMBOLS = _split(
    """AAPL|MSFT|GOOG|AMZN|NVDA|META|TSLA|NFLX|ORCL|INTC|AMD|IBM|SAP|SONY|NKE|KO|PEP|MCD|DIS|BA|GE|F|GM|T
    |VZ|V|MA|JPM|GS|UBS"""
)
COLORS = _split(
    """red|blue|green|yellow|orange|purple|black|white|grey|pink|brown|turquoise|beige|silver|gold|navy
    |maroon|olive|teal|lavender|crimson|ivory|amber|indigo|coral|mint|lilac|bronze|khaki|violet"""
)
GENRES = _split(
    """jazz|rock|classical|folk|blues|reggae|techno|soul|funk|metal|indie|ambient|disco|opera|swing|gospel
    |thriller|comedy|drama|fantasy|mystery|horror|romance|western|documentary|adventure|animation|satire
    |biography|poetry"""
)
TITLES = _split(
    """Team sync|Budget review|Dentist appointment|Project kickoff|Lunch break|Piano lesson|Design workshop
    |Sprint planning|Book club|Weekly report|Garden party|Parents evening|Yoga class|Job interview
    |Birthday dinner|Quarterly update|Board meeting|Car service|Vet visit|House viewing|Movie night
    |Marathon training|Tax filing|Spring cleaning|Choir rehearsal|Product launch|Sales call|Chess evening
    |Swimming lesson|Street festival"""
)
WORKS = _split(
    """Silent River|Golden Hour|Midnight Train|Paper Moon|Winter Garden|Broken Compass|Blue Horizon
    |Hidden Valley|Glass Mountain|Crimson Tide|Lost Harbour|Quiet Storm|Iron Bridge|Summer Rain|Night Market
    |Empty Chairs|Distant Shore|Copper Sky|Wild Orchard|Second Dawn|Velvet Road|Burning Fields|Salt Wind
    |Northern Light|Hollow Tree|Last Ferry|Desert Bloom|Echo Canyon|Silver Thread|Morning Star"""
)
TOPICS = _split(
    """solar panels|renewable energy|remote work|electric cars|healthy breakfast|city parks|space travel
    |climate policy|home gardening|travel insurance|chess openings|public transport|data privacy
    |music festivals|ancient history|coffee brewing|bird watching|marathon training|mental health
    |wine tasting|football results|interest rates|housing market|water quality|language learning
    |machine translation|urban farming|mountain hiking|film photography|digital art"""
)
MESSAGES = _split(
    """running ten minutes late today|the package arrived this morning|meeting moved upstairs
    |dinner starts at eight tonight|please bring your laptop|thanks again for your help
    |the keys are under the mat|see you at the station|happy birthday dear friend
    |we need two more chairs|the report is ready for review|train is delayed by an hour
    |pick up milk on your way home|your order has been shipped|call me when you arrive
    |the window is still open|tickets are at the front desk|rehearsal was cancelled today
    |the printer is out of paper|lunch is on me tomorrow|our flight lands before noon
    |the garden needs water this week|the invoice was paid yesterday|bring a warm coat with you
    |class starts half an hour later|the new sofa arrives on Friday|remember to lock the door
    |the test results look good|parking is free after six|the cake is in the fridge"""
)
TAGS = _split(
    """urgent|home|work|travel|family|health|finance|garden|school|music|sports|shopping|personal|holiday
    |archive|backup|daily|weekly|draft|final|internal|public|private|project|research|review|sales|support
    |training|vacation"""
)
USERNAMES = _split(
    """skywalker|bluefox|nightowl|sunny_day|teaspoon|pixelcat|greenleaf|stargazer|lemonade|rainmaker
    |silverfish|mapmaker|snowflake|bookworm|drumbeat|icebear|jellybean|kingfisher|moonriver|northstar
    |oceanwave|papercup|quickstep|redpanda|sandcastle|treehouse|umbrella7|violinist|whiteowl|yellowbird"""
)
FILES = _split(
    """report.pdf|notes.txt|budget.xlsx|photo.jpg|slides.pptx|invoice.pdf|backup.zip|data.csv|letter.docx
    |song.mp3|video.mp4|script.py|readme.md|config.json|poster.png|contract.pdf|recipe.txt|map.svg
    |minutes.docx|plan.xlsx|survey.csv|menu.pdf|thesis.tex|logo.svg|cover.png|index.html|styles.css
    |results.csv|summary.txt|agenda.docx"""
)
TEAMS = _split(
    """Falcons|Tigers|Wolves|Eagles|Sharks|Lions|Bears|Hawks|Panthers|Dragons|Knights|Rangers|Pirates|Rockets
    |Comets|Royals|Raiders|Titans|Vikings|Spartans|Bulls|Foxes|Ravens|Cobras|Hornets|Stallions|Warriors
    |Mariners|Giants|Saints"""
)
BREEDS = _split(
    """beagle|poodle|collie|boxer|pug|husky|dachshund|corgi|terrier|spaniel|retriever|bulldog|whippet|mastiff
    |greyhound|siamese|persian cat|ragdoll|bengal|sphynx|parrot|canary|hamster|rabbit|guinea pig|goldfish
    |turtle|iguana|ferret|cockatiel"""
)
EXERCISES = _split(
    """running|swimming|cycling|rowing|yoga|pilates|squats|push-ups|hiking|walking|boxing|dancing|climbing
    |skiing|tennis|football|basketball|badminton|karate|skating|surfing|golf|volleyball|stretching|lunges
    |planks|burpees|judo|fencing|sailing"""
)
MEDICINES = _split(
    """ibuprofen|aspirin|paracetamol|amoxicillin|insulin|vitamin D|zinc|magnesium|cetirizine|omeprazole
    |metformin|atorvastatin|lisinopril|codeine|melatonin|iron tablets|calcium|folic acid|loratadine
    |naproxen|warfarin|prednisone|salbutamol|heparin|sertraline|doxycycline|ramipril|simvastatin
    |bisoprolol|pantoprazole"""
)
ROOMS = _split(
    """kitchen|bedroom|bathroom|living room|hallway|garage|attic|cellar|study|nursery|dining room|balcony
    |terrace|laundry room|guest room|office|library|pantry|porch|playroom|workshop|gym|lobby|studio
    |conservatory|cloakroom|staircase|veranda|den|sauna"""
)
HOTELS = _split(
    """Grand Plaza|Hotel Aurora|Seaside Inn|Park Royal|City Lodge|Hotel Belvedere|Riverside Inn|Golden Lion
    |Hotel Central|Mountain View|Harbour House|The Crown|Villa Rosa|Hotel Metropol|Old Mill Inn|Bay Hotel
    |Hotel Panorama|Kings Court|Hotel Lindner|Garden Suites|Hotel Astoria|Ocean Pearl|White Swan|Hotel Europa
    |Palm Resort|Hotel Stella|Forest Lodge|Silver Anchor|Hotel Bristol|Lake House"""
)
RESTAURANTS = _split(
    """Trattoria Luna|Golden Dragon|Bella Vista|Le Petit Coin|The Blue Door|Casa Verde|Sakura House|Olive Tree
    |Spice Garden|Red Lantern|La Cantina|The Copper Pot|Green Fork|Il Giardino|Tandoori Palace|Cafe Rivoli
    |Rusty Anchor|The Wild Boar|Pho Corner|Lemon Grove|Taverna Nikos|The Cellar Door|El Toro|Maison Claire
    |Silver Spoon|Noodle Bar|The Old Oak|Smokehouse 21|Harvest Table|Bistro Noir"""
)
CONDITIONS = _split(
    """sunny|cloudy|rainy|snowy|windy|foggy|stormy|clear|overcast|humid|hazy|icy|drizzly|mild|hot|cold
    |freezing|breezy|muggy|showery|gusty|frosty|dry|wet|misty|thundery|partly cloudy|light rain|heavy rain
    |light snow"""
)
STATUSES = _split(
    """active|pending|done|open|closed|confirmed|delayed|cancelled|delivered|shipped|paid|waiting|approved
    |rejected|draft|queued|running|paused|finished|failed|ready|on hold|scheduled|archived|blocked|new
    |in transit|in progress|on time|completed"""
)
DEPARTMENTS = _split(
    """sales|marketing|finance|engineering|legal|support|operations|research|design|logistics|purchasing
    |security|training|quality|facilities|payroll|recruiting|production|maintenance|planning|audit|travel
    |catering|archive|compliance|analytics|public relations|customer care|shipping|accounting"""
)
WORDS = _split(
    """alpha|bravo|cobalt|delta|ember|falcon|granite|harbor|ivory|jasper|kestrel|lotus|meadow|nectar|onyx
    |pepper|quartz|raven|saffron|tulip|ultra|velvet|willow|xenon|yarrow|zephyr|amber|birch|clover|dune"""
)
