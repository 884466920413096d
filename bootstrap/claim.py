"""Whose a function is: what its tags with our prefix say, and what they are to say.

wukong:owner         the stack that manages the function; "manual" without a stack
wukong:resource      the stack's resource that does, by its logical id
wukong:created-by    the request that created it, of the bootstrap function
wukong:adopted-from  of a function that was taken over: who had it before, or "none"
"""

from __future__ import annotations

from collections.abc import Mapping

OWNER = "wukong:owner"
RESOURCE = "wukong:resource"
CREATED = "wukong:created-by"
FORMER = "wukong:adopted-from"
NOBODY = "none"


def ours(owner: str, resource: str) -> dict[str, str]:
    """Give the tags of a function that we create."""
    return {OWNER: owner} | ({RESOURCE: resource} if resource else {})


def missing(tags: Mapping[str, str], owner: str, resource: str) -> dict[str, str]:
    """Give the tags that a function lacks to be ours; who had it before is one of them."""
    wanted = {key: tag for key, tag in ours(owner, resource).items() if tags.get(key) != tag}
    return wanted | ({FORMER: tags.get(OWNER, NOBODY)} if OWNER in wanted else {})


def former(tags: Mapping[str, str], owner: str) -> str:
    """Name who had a function before this owner took it over; empty if nobody had.

    Not the owner itself: a function that was handed back to it may still say who hands it back.
    """
    before = tags.get(FORMER, "")
    return "" if before == owner else before


def why_not_ours(tags: Mapping[str, str], owner: str, resource: str) -> str:
    """Say why a function is not to be deleted in this name; empty if it is.

    A resource that got another logical id in its template is created under the new one before it is
    deleted under the old one; the pair is the same.
    """
    if tags.get(OWNER) != owner:
        return f"it belongs to {tags.get(OWNER) or 'nobody we know'}"
    if resource and tags.get(RESOURCE, resource) != resource:
        return f"it belongs to the stack's resource {tags[RESOURCE]} now"
    return ""
