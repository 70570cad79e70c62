from tests import checked as checked  # jaxtyping imports `tests` alone
