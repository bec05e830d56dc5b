package main

import (
	"fmt"
	"testing"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

func TestATokenIsHeldForMostOfItsLife(t *testing.T) {
	client, given := fake.NewClientset(), 0
	client.PrependReactor("create", "serviceaccounts", func(clienttesting.Action) (bool, runtime.Object, error) {
		given++
		return true, &authv1.TokenRequest{Status: authv1.TokenRequestStatus{
			Token: fmt.Sprint("token-", given), ExpirationTimestamp: metav1.NewTime(time.Now().Add(time.Hour)),
		}}, nil
	})
	p := &pod{node: &node{client: client}, obj: &corev1.Pod{}}
	want := &corev1.ServiceAccountTokenProjection{Path: "token"}
	get := func() string {
		token, err := p.freshToken(t.Context(), "volume", want)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	if first, again := get(), get(); first != "token-1" || again != first {
		t.Errorf("got %s, then %s", first, again)
	}
	held := p.tokens["volume/token"]
	if left := time.Until(held.refreshAt); left < 47*time.Minute || left > 49*time.Minute {
		t.Errorf("the next one comes after %s", left)
	}
	held.refreshAt = time.Now()
	p.tokens["volume/token"] = held
	if next := get(); next != "token-2" {
		t.Errorf("got %s", next)
	}
}
