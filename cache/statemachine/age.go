package statemachine

import "edge/message"

// correctedInitialAge is the age of a response at response_time, RFC 9111
// section 4.2.3. date is the Date field in seconds since the epoch.
//
//	apparent_age = max(0, response_time - date_value);
//	response_delay = response_time - request_time;
//	corrected_age_value = age_value + response_delay;
//	corrected_initial_age = max(apparent_age, corrected_age_value);
//
// apparent_age is computed in whole seconds, the resolution of Date: a
// response made and received within one second has none.
func correctedInitialAge(f *message.Fields, date int64, hasDate bool, requestTime, responseTime Instant) Duration {
	apparentAge := Duration(0)
	if hasDate {
		apparentAge = seconds(int64(responseTime)/message.Second - date)
	}
	responseDelay := min(max(responseTime.Sub(requestTime), 0), seconds(maxDelta))
	return max(apparentAge, ageValue(f)+responseDelay)
}

// ageValue is "age_value": "the value of the Age header field, in a form
// appropriate for arithmetic operation; or 0, if not available." Section 5.1:
// "a cache encountering a message with a list-based Age field value SHOULD use
// the first member of the field value, discarding subsequent ones. If the
// field value (after discarding additional members, as per above) is invalid
// ..., a cache SHOULD ignore the field."
func ageValue(f *message.Fields) Duration {
	value, _ := f.Get(message.FieldAge)
	for i, c := range value {
		if c == ',' {
			value = value[:i]
			break
		}
	}
	age, ok := parseDelta(trimOWS(value))
	if !ok {
		return 0
	}
	return age
}
