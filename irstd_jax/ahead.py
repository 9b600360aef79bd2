"""Work in threads, a little ahead of what takes its results."""

import collections
import concurrent.futures


def ahead(function, items, threads=1):
    """Yields function(item) for every item, in order, while later ones are worked on.

    Items are drawn by whoever draws the results, at most `threads` more than these. So
    with one thread, while it is at an item, the next one is read and the result before
    is used. Threads gain where the work leaves Python alone: a device's program, codecs
    of images, files.

    An error of an item is raised in its place; what has begun by then is ended first.
    """
    waiting = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
