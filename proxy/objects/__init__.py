"""Provider objects: which workspace owns an id that a provider minted (responses, files, …), and at which account.

Promises: an id reaches the client only after it is written down, so that its very next request finds it through any gateway;
an id that is not the caller's is 404, whether it is another's or nobody's; one id of one account has one owner for ever;
no spelling of a body hides an id (escapes, keys given twice, other case). What a request refers to (`references`) and what
an answer brings (`minted`) is found by pure code; `Objects` is the rest. Left to others: choosing the route to the account
(flow), asking the provider, the items of conversations that are ours.
"""
