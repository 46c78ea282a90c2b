"""What is said in the sample calls, and by whom. make.py turns it into sound and transcripts.

A turn is (speaker, pause before it in seconds, text); a negative pause talks over the end of the turn
before. A line break in the text ends a phrase: the speaker breathes there.
"""

# Speaker: espeak-ng voice, words a minute, pitch.
VOICES = {
    "agent": ("en-gb+f3", 162, 52),
    "second agent": ("en-gb-scotland+f2", 158, 44),
    "customer": ("en-gb-x-rp+m3", 165, 42),
    "other customer": ("en-us+m7", 160, 36),
    "caller": ("en-gb+f5", 165, 58),
    "machine": ("en-gb+m1", 150, 50),
}

REFUND = [
    ("agent", 0.8, "Good morning, Harbour Outfitters, you are speaking to Dana.\nHow can I help you today?"),
    ("customer", 0.5, "Hello Dana.\nI bought a kettle from you two weeks ago, and it arrived with a crack in it.\nI would like a refund, please."),
    ("agent", 0.4, "Oh, I am sorry to hear that.\nLet me look that up for you.\nCould you give me your order number?"),
    ("customer", 0.6, "Yes, one moment.\nIt is four eight, one five, one six."),
    ("agent", 0.5, "Thank you.\nFour eight, one five, one six."),
    ("agent", 1.8, "I have it here. One kettle, in blue, delivered on the ninth.\nIs that the one?"),
    ("customer", 0.4, "Yes, the blue one."),
    ("agent", 0.3, "And may I take your name and your postcode, just to be sure that I am talking to the right person?"),
    ("customer", 0.5, "Of course. It is Oliver Finch, and the postcode is B S one, five T R."),
    ("agent", 0.5, "Lovely, thank you, Mister Finch.\nNow, what is wrong with the kettle?"),
    ("customer", 0.4, "The water runs out at the bottom, all over the kitchen."),
    ("agent", 0.4, "That should not happen with any kettle.\nWould you like a new one, or your money back?"),
    ("customer", 0.5, "My money back, please.\nI have already bought another one in town."),
    ("agent", 0.3, "I quite understand.\nThen I will make the refund to the card that you paid with."),
    ("customer", -0.15, "Good.\nShall I give you the number? I have the card right here. It is four nine"),
    ("agent", -0.4, "Please stop there.\nPlease don't read out your full card number, because this call is recorded.\nThe last four digits are all I need."),
    ("customer", 0.5, "Ah, of course, sorry.\nThe last four are three one, zero seven."),
    ("agent", 0.4, "Three one, zero seven. That matches.\nI am sending back twenty four pounds and fifty pence."),
    ("customer", 0.4, "And how long will that take?"),
    ("agent", 0.4, "Three to five working days, depending on your bank.\nYou will get a text message as soon as it is on its way."),
    ("customer", 0.5, "That is fine.\nAnd do I have to send the broken kettle back?"),
    ("agent", 0.3, "No, there is no need.\nJust recycle it with other small appliances."),
    ("customer", 0.4, "Wonderful. That was easier than I thought it would be."),
    ("agent", 0.4, "I am glad to hear it.\nIs there anything else that I can do for you?"),
    ("customer", 0.4, "No, that is everything.\nThank you very much for your help, Dana."),
    ("agent", 0.3, "You are very welcome.\nHave a lovely day. Goodbye."),
    ("customer", 0.3, "Goodbye."),
]

CALLBACK = [
    ("other customer", 0.7, "Hello, Miles speaking."),
    ("agent", 0.4, "Hello Miles, this is Dana from Harbour Outfitters.\nYou asked us to call you back about your tent."),
    ("other customer", 0.4, "Oh yes, thanks for calling.\nTwo of the poles are missing."),
    ("agent", 0.4, "I can send you a set today.\nIs the address on the order still right?"),
    ("other customer", 0.5, "It is.\nWill they be here by Friday? We are going to the lakes."),
    ("agent", 0.4, "They will be with you on Thursday, before noon."),
    ("other customer", 0.3, "Great, then the weekend is saved."),
    ("agent", 0.3, "Enjoy the lakes, and take a raincoat with you.\nGoodbye, Miles."),
    ("other customer", 0.4, "I will. Bye."),
]

TRANSFER = [
    ("agent", 0.7, "Harbour Outfitters, Dana speaking. What can I do for you?"),
    ("caller", 0.5, "Good afternoon.\nI was charged twice for one pair of boots."),
    ("agent", 0.4, "I can see both payments.\nOur accounts team has to cancel one of them.\nMay I put you through?"),
    ("caller", 0.4, "Yes, please do."),
    ("agent", 0.3, "Thank you. Please hold the line."),
    ("second agent", 5.0, "Hello, this is Fiona in accounts.\nDana has told me what happened, so you don't have to say it again."),
    ("caller", 0.4, "Oh, that is good service."),
    ("second agent", 0.3, "I have cancelled the second payment.\nYour bank will show it as pending until tomorrow."),
    ("caller", 0.5, "And tomorrow it will be gone?"),
    ("second agent", 0.3, "It will.\nIf it is not, please ask for Fiona, and I will sort it out."),
    ("caller", 0.4, "Thank you, Fiona. Goodbye."),
    ("second agent", 0.3, "Goodbye."),
]

DELIVERY = [
    ("agent", 0.6, "Harbour Outfitters, good evening."),
    ("caller", 0.4, "Hello. My parcel was left next door, and the neighbours are on holiday."),
    ("agent", 0.4, "Oh dear. I will ask the driver to fetch it tomorrow morning."),
    ("caller", 0.4, "That would be very kind."),
]

SIZES = [
    ("other customer", 0.6, "Do your wool socks come in size twelve?"),
    ("agent", 0.5, "They do, in grey and in green.\nShall I put a pair aside for you?"),
    ("other customer", 0.4, "Two pairs of the green ones, please."),
]

OPENING = [
    ("customer", 0.6, "Are you open on Sunday?"),
    ("agent", 0.4, "We are, from ten until four.\nThe workshop is closed, though."),
    ("customer", 0.4, "Thanks, that is all I wanted to know."),
]

VOICEMAIL = [
    ("caller", 0.6, "Hello, this is a message for the repair desk.\nThe zip of my jacket has come off again.\nPlease call me back after six, I am at work until then.\nThank you, bye."),
]

IVR = [
    ("machine", 0.4, "Please say the name of the product that you are calling about."),
    ("caller", 0.7, "A sleeping bag."),
    ("machine", 0.4, "Thank you. You said, sleeping bag."),
]
