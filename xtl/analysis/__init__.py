"""What an analysis is, what it is asked, and how `xtl analyse` finds it: import from here to write one of your own.

An `Analysis` says what it asks and needs; a `Request` holds the stored runs, or the model and questions, that it is given. A
package offers one under the entry-point group `xtl.analyses`; `find_analyses` lists what the installed ones offer.
"""

from xtl.analysis.base import Analysis, words_of_each
from xtl.analysis.netcdf import save
from xtl.analysis.registry import GROUP, Offer, find_analyses, get_analysis
from xtl.analysis.request import Request

__all__ = ["GROUP", "Analysis", "Offer", "Request", "find_analyses", "get_analysis", "save", "words_of_each"]
