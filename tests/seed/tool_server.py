"""A small MCP server over stdio, run by the tests as a process of its own.

It counts its calls in the file named by its first argument.
"""

import sys
from pathlib import Path

from mcp.server import MCPServer

server = MCPServer("stock")
log = Path(sys.argv[1])


@server.tool()
def get_stock(item: str) -> dict[str, int]:
    """Get how many pieces of an item there are."""
    with log.open("a") as file:
        file.write(f"{item}\n")
    return {"pieces": len(log.read_text().splitlines())}


@server.tool()
def remove_item(item: str) -> str:
    """Remove an item."""
    raise ValueError(f"there is no {item}")


if __name__ == "__main__":
    server.run("stdio")
