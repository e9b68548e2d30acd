"""One Lua file per script. Each states its keys, arguments and reply, checks before it writes, and may be repeated."""
