from lattgnn.errors import suggestion


def test_the_nearest_name_is_suggested_whatever_its_case():
    assert suggestion("holstien", ["Holstein", "Peierls"]) == "Did you mean 'Holstein'?"
    assert suggestion("MU", ["mu", "kT"]) == "Did you mean 'mu'?"


def test_all_names_are_listed_if_none_is_near():
    assert suggestion("quark", ["Holstein", "Peierls"]) == "Use one of Holstein, Peierls."
    assert suggestion("quark", []) == ""
