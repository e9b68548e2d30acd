"""Exit 0 if the gateway on this machine is ready. Standard library only; the address can be given as an argument."""

import sys
import urllib.request

URL = "http://127.0.0.1:4000/health/ready"


def main() -> int:
    url = sys.argv[1] if len(sys.argv) > 1 else URL
    try:
        # No proxy from the environment: this is a call to ourselves.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=4) as answer:
            return 0 if answer.status == 200 else 1
    except (OSError, ValueError) as error:  # HTTPError is an OSError
        sys.stderr.write(f"{url}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
